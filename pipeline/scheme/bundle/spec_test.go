package bundle_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/bundle"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// full is a config that has all that a bundle is made from.
func full() ocispec.Image {
	created := time.Date(2024, 1, 2, 3, 4, 5, 600, time.UTC)
	return ocispec.Image{
		Created: &created, Author: "ann <ann@example.com>",
		Platform: ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8", OSVersion: "6.1", OSFeatures: []string{"one", "two"}},
		Config: ocispec.ImageConfig{
			User: "app", Env: []string{"APP=1", "PATH=/app/bin:/bin"}, Entrypoint: []string{"/app/bin/start", "--now"}, Cmd: []string{"a b", "<&>"},
			WorkingDir: "/app", StopSignal: "SIGQUIT", ExposedPorts: map[string]struct{}{"8080/tcp": {}, "53/udp": {}},
			Volumes: map[string]struct{}{"/data": {}, "/app/cache/": {}, "/": {}},
			Labels:  map[string]string{"team": "one", "org.opencontainers.image.author": "the label", "empty": ""},
		},
	}
}

// image stores an image with a whole config, which pipelinetest.Image cannot say.
func image(t testing.TB, c ocispec.Image, layer []byte) *pipelinetest.Source {
	t.Helper()
	src := imageOf(t, pipelinetest.Image{Layers: [][]byte{layer}})
	var m ocispec.Manifest
	var plain ocispec.Image
	decode(t, src.Store.Bytes(src.Roots[0].Desc.Digest), &m)
	decode(t, src.Store.Bytes(m.Config.Digest), &plain)
	c.RootFS = plain.RootFS
	m.Config = src.Store.PutJSON(t, ocispec.MediaTypeImageConfig, c)
	src.Roots[0].Desc = src.Store.PutJSON(t, ocispec.MediaTypeImageManifest, m)
	return src
}

// users is a layer whose passwd knows app (1000:1000) with two groups more.
func users(t testing.TB) []byte {
	t.Helper()
	return pipelinetest.Tar(t,
		pipelinetest.File{Name: "etc/passwd", Body: "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/app:/bin/sh\nbig:x:4294967295:0::/:\n"},
		pipelinetest.File{Name: "etc/group", Body: "root:x:0:root\napp:x:1000:\nlog:x:7:app,root\nwheel:x:10:root\ntape:x:3:app\n"})
}

// All of config.json, byte for byte, for root and for an ordinary user.
func TestConfigFollowsTheImage(t *testing.T) {
	t.Parallel()
	for golden, query := range map[string]string{
		"config.json": "?rootless=false", "config-rootless.json": "?rootless=true", "config-tmpfs.json": "?rootless=false&volumes=tmpfs",
	} {
		t.Run(golden, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "bundle")
			write(t, image(t, full(), users(t)), path+query)
			got := strings.NewReplacer(
				fmt.Sprintf(`"hostID": %d,`, os.Geteuid()), `"hostID": "ME",`, fmt.Sprintf(`"hostID": %d,`, os.Getegid()), `"hostID": "ME",`,
			).Replace(content(t, path+"/config.json"))
			golden = filepath.Join("testdata", golden)
			if *update {
				writeFile(t, golden, got)
			}
			if diff := cmp.Diff(content(t, golden), got); diff != "" {
				t.Errorf("it differs from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// The Python tool crashed on a config without WorkingDir and ignored Env; args
// are entrypoint and command.
func TestWhatAConfigLeavesOutHasDefaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config    ocispec.ImageConfig
		cwd       string
		args, env []string
		warning   string
	}{
		"nothing": {ocispec.ImageConfig{}, "/", []string{"sh"}, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}, "the image has no command; config.json starts sh"},
		"all":     {ocispec.ImageConfig{Entrypoint: []string{"e"}, Cmd: []string{"c"}, WorkingDir: "/w/", Env: []string{"PATH=/p", "TERM="}}, "/w", []string{"e", "c"}, []string{"PATH=/p", "TERM="}, ""},
		"half":    {ocispec.ImageConfig{Cmd: []string{"c", "d"}, WorkingDir: "../w", Env: []string{"XPATH=1", "TERM=vt100"}}, "/w", []string{"c", "d"}, []string{"XPATH=1", "TERM=vt100", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w, err := made(t, "", c.config)
			if err != nil {
				t.Fatal(err)
			}
			p := s.Process
			if p.Cwd != c.cwd || !slices.Equal(p.Args, c.args) || !slices.Equal(p.Env, c.env) {
				t.Errorf("cwd %q, args %q, env %q", p.Cwd, p.Args, p.Env)
			}
			if c.warning != "" && !w.Has(c.warning) || c.warning == "" && len(w.List) > 0 {
				t.Errorf("it says %v", w.List)
			}
		})
	}
}

// runc starts nothing with variables that are none, and crun cuts them off. Docker
// leaves out those without a value, and what it would have set by itself.
func TestVariablesThatAreNoneAreLeftOut(t *testing.T) {
	t.Parallel()
	env := []string{"NAMED", "A=1", "", "=value", "NUL=a\x00b", "B=x\ny", "C==", "TERM"}
	s, w, err := made(t, "", ocispec.ImageConfig{Cmd: []string{"x"}, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"A=1", "B=x\ny", "C==", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}; !slices.Equal(s.Process.Env, want) {
		t.Errorf("got  %q\nwant %q", s.Process.Env, want)
	}
	if !w.Has("5 environment variables without a name or value are left out: ") {
		t.Errorf("it says %v", w.List)
	}
}

// A label is a stranger's word: what runtimes take for an order is left out.
func TestLabelsGiveNoOrders(t *testing.T) {
	t.Parallel()
	orders := map[string]string{
		"run.oci.handler": "krun", "org.systemd.property.CPUWeight": "uint64 9", "io.katacontainers.config.hypervisor.path": "/x",
		"org.criu.config": "/etc/x", "module.wasm.image/variant": "compat",
	}
	labels := maps.Clone(orders)
	labels["org.opencontainers.image.os"] = "mine"
	labels["com.example.run.oci.x"] = "kept"
	s, w, err := made(t, "", ocispec.ImageConfig{Labels: labels, Cmd: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	for k := range orders {
		if _, ok := s.Annotations[k]; ok || !w.Has(k) {
			t.Errorf("%s came through, or nobody was told: %v", k, w.List)
		}
	}
	if s.Annotations["org.opencontainers.image.os"] != "mine" || s.Annotations["com.example.run.oci.x"] != "kept" {
		t.Errorf("annotations are %v", s.Annotations)
	}
}

// Capabilities are in effect for root alone, as in Docker.
func TestOnlyRootHasCapabilities(t *testing.T) {
	t.Parallel()
	for user, effective := range map[string]bool{"": true, "0": true, "root:7": true, "app": false, "5:0": false} {
		s, _, err := made(t, "?rootless=false", ocispec.ImageConfig{User: user, Cmd: []string{"x"}}, users(t))
		if err != nil {
			t.Fatal(err)
		}
		c := s.Process.Capabilities
		if len(c.Bounding) != 14 || (len(c.Effective) == 14) != effective || (len(c.Permitted) == 14) != effective || c.Inheritable != nil || c.Ambient != nil {
			t.Errorf("user %q has %+v", user, c)
		}
	}
}

// Without being told, the bundle is one that this user can start.
func TestRootlessIsForWhoIsNotRoot(t *testing.T) {
	t.Parallel()
	for query, rootless := range map[string]bool{"": os.Geteuid() != 0, "?rootless=true": true, "?rootless=false": false} {
		s, w, err := made(t, query, ocispec.ImageConfig{User: "app", Cmd: []string{"x"}}, users(t))
		if err != nil {
			t.Fatal(err)
		}
		has := slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
		if has != rootless || (s.Linux.Resources == nil) != rootless || (s.Process.User.UID == 0) != rootless {
			t.Errorf("%q: namespaces %v, user %v", query, s.Linux.Namespaces, s.Process.User)
		}
		if rootless != w.Has(`the image's user is "app"`) {
			t.Errorf("%q: it says %v", query, w.List)
		}
	}
}

// An image that has a command, in a bundle that has all of it, needs no words.
func TestOrdinaryImageNeedsNoWords(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user is told what he cannot make")
	}
	var w pipelinetest.Warnings
	path := filepath.Join(t.TempDir(), "bundle")
	src := imageOf(t, pipelinetest.Image{Config: ocispec.ImageConfig{Cmd: []string{"x"}}, Layers: [][]byte{users(t)}})
	o := pipeline.Options{Query: pipeline.Query{Events: w.Events}}
	if _, err := pipeline.Run(t.Context(), src, nil, open(t, path, bundle.Config{Events: w.Events}), o); err != nil {
		t.Fatal(err)
	}
	if len(w.List) > 0 {
		t.Errorf("it says %v", w.List)
	}
}
