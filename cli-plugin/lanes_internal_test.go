package cliplugin

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// An engineSays is what a daemon says of itself.
type engineSays struct {
	api    string
	podman bool
	info   map[string]any
}

// serve answers as the daemon, and returns its address.
func (e engineSays) serve(t *testing.T, network string) string {
	t.Helper()
	address, host := "127.0.0.1:0", "tcp://"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "engine") //nolint:usetesting // t.TempDir may be longer than the 107 bytes of a socket's path
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address, host = filepath.Join(dir, "s"), "unix://"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: e}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return host + l.Addr().String()
}

// ServeHTTP knows no image.
func (e engineSays) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", e.api)
	w.Header().Set("Content-Type", "application/json")
	name := "Engine"
	if e.podman {
		name = "Podman Engine"
	}
	switch _, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/"); path {
	case "_ping", "":
	case "version":
		_ = json.NewEncoder(w).Encode(map[string]any{"ApiVersion": e.api, "Os": "linux", "Arch": "amd64", "Components": []map[string]string{{"Name": name}}})
	case "info":
		_ = json.NewEncoder(w).Encode(e.info)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"No such image"}`))
	}
}

// TestForcedLanesSayWhyTheyCannotWork: with the lanes that we ship, for every kind
// of daemon and place where one cannot work.
func TestForcedLanesSayWhyTheyCannotWork(t *testing.T) {
	t.Parallel()
	nowhere := t.TempDir()
	containerd := func(more map[string]any) engineSays {
		info := map[string]any{
			"Driver": "overlayfs", "DockerRootDir": nowhere, "DriverStatus": [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}},
			"Containerd": map[string]any{"Address": nowhere + "/containerd.sock", "Namespaces": map[string]string{"Containers": "moby"}},
		}
		for k, v := range more {
			info[k] = v
		}
		return engineSays{api: "1.51", info: info}
	}
	graph := func(driver string, more ...string) engineSays {
		return engineSays{api: "1.41", info: map[string]any{"Driver": driver, "DockerRootDir": nowhere + "/none", "SecurityOptions": more}}
	}
	podman := engineSays{api: "1.41", podman: true, info: map[string]any{"Driver": "overlay"}}
	vm := map[string]any{"KernelVersion": "1.2.3-vm"}
	old := containerd(map[string]any{"Containerd": nil})
	old.api = "1.43"
	const out, in = pipeline.SourceSide, pipeline.SinkSide
	for _, tc := range []struct {
		name    string
		engine  engineSays
		network string
		side    pipeline.Side
		lane    string
		want    string
	}{
		{"containerd is not there", containerd(nil), "unix", out, "content", nowhere + "/containerd.sock"},
		{"containerd is not there, in", containerd(nil), "unix", in, "content", nowhere + "/containerd.sock"},
		{"an old daemon does not say where", old, "unix", out, "content", "does not say where its containerd is"},
		{"graph driver has no content", graph("overlay2"), "unix", out, "content", "does not keep its images in containerd"},
		{"graph driver has no content, in", graph("overlay2"), "unix", in, "content", "does not keep its images in containerd"},
		{"containerd store has no layers", containerd(nil), "unix", out, "layers", "keeps its images in containerd"},
		{"files are not there", graph("overlay2"), "unix", out, "layers", nowhere + "/none"},
		{"another graph driver", graph("btrfs"), "unix", out, "layers", `"btrfs"`},
		{"rootless", graph("overlay2", "name=rootless"), "unix", out, "layers", "without root"},
		{"Podman has no content", podman, "unix", out, "content", "does not keep its images in containerd"},
		{"Podman has no layers", podman, "unix", out, "layers", "Podman"},
		{"content by TCP", containerd(nil), "tcp", out, "content", "is another machine"},
		{"content by TCP, in", containerd(nil), "tcp", in, "content", "is another machine"},
		{"layers by TCP", graph("overlay2"), "tcp", out, "layers", "is another machine"},
		{"push by TCP", containerd(nil), "tcp", out, "push", "is another machine"},
		{"content in a VM", containerd(vm), "unix", out, "content", "in a VM"},
		{"push in a VM", containerd(vm), "unix", out, "push", "in a VM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := pipeline.Schemes{daemon.Scheme(daemon.Config{Lanes: (&program{}).lanes(nil)})}
			uri := "docker://app?host=" + tc.engine.serve(t, tc.network) + "&lane=" + tc.lane
			err := openEnd(t, s, uri, tc.side)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "lane "+tc.lane+" does not work") {
				t.Errorf("error is %v; want %q in it", err, tc.want)
			}
		})
	}
}

// openEnd opens one end as a run does.
func openEnd(t *testing.T, s pipeline.Schemes, uri string, side pipeline.Side) error {
	t.Helper()
	if side == pipeline.SourceSide {
		src, err := s.Source(uri)
		if err != nil {
			t.Fatal(err)
		}
		g, err := src.Open(t.Context(), pipeline.Query{})
		if err == nil {
			err = g.Close()
		}
		return err
	}
	sink, err := s.Sink(uri)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sink.(pipeline.Deferred).Chosen(t.Context())
	if cerr := sink.Close(); cerr != nil {
		t.Error(cerr)
	}
	return err
}
