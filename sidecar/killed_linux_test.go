package sidecar

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/control"
)

// runEnv makes this test binary occystrapd: its value are the arguments.
const runEnv = "OCCYSTRAP_SIDECAR_TEST_RUN"

func TestMain(m *testing.M) {
	if args := os.Getenv(runEnv); args != "" {
		os.Exit(Main("v1-test", strings.Fields(args), os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// run starts an occystrapd of its own, for a graph driver, and returns its socket.
func run(t testing.TB, root string) (*exec.Cmd, string) {
	t.Helper()
	dir := short(t)
	config, socket := filepath.Join(dir, "c"), filepath.Join(dir, "s")
	must(t, os.WriteFile(config, []byte("[[lanes.docker]]\nroot = \""+root+"\"\n"), 0o600))
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), runEnv+"=lanes --config "+config+" --listen "+socket)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("it printed:\n%s", &out)
		}
	})
	c := control.New(socket)
	for end := time.Now().Add(3 * time.Minute); ; <-time.After(10 * time.Millisecond) {
		_, err := c.Hello(t.Context())
		if err == nil {
			must(t, c.Close())
			return cmd, socket
		}
		if time.Now().After(end) {
			t.Fatalf("the sidecar does not answer: %v", err)
		}
	}
}

// largeLayer is a tar of more than pipes and sockets hold.
func largeLayer(t testing.TB) []byte {
	t.Helper()
	content := make([]byte, 4<<20)
	_, err := rand.NewChaCha8([32]byte{}).Read(content)
	must(t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: "large", Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR}))
	_, err = w.Write(content)
	must(t, errors.Join(err, w.Close()))
	return b.Bytes()
}

// Whatever kills the sidecar in the middle of a layer, the layer does not end
// there; a new sidecar takes the place of the killed one.
func TestAKilledSidecarEndsNoLayer(t *testing.T) {
	t.Parallel()
	g, layer := pipelinetest.NewGraphDriver(t), largeLayer(t)
	image, diffID := g.Image(t, layer), digest.FromBytes(layer)
	cmd, at := run(t, g.Root)
	c := control.New(at)
	d, err := c.Depot(t.Context(), g.Root)
	must(t, err)
	for range 2 { // the second time on a connection that was used
		found, err := d.Image(t.Context(), image)
		must(t, err)
		if len(found.Layers) != 1 || found.Layers[0].Size != int64(len(layer)) || digest.FromBytes(found.Config) != image {
			t.Errorf("the image is %+v", found.Layers)
		}
		rc, err := d.Layer(t.Context(), image, diffID)
		must(t, err)
		got, err := io.ReadAll(rc)
		must(t, errors.Join(err, rc.Close()))
		if !bytes.Equal(got, layer) {
			t.Errorf("the layer has %d bytes, want %d", len(got), len(layer))
		}
	}
	rc, err := d.Layer(t.Context(), image, diffID)
	must(t, err)
	_, err = io.ReadFull(rc, make([]byte, 1<<20))
	must(t, errors.Join(err, cmd.Process.Kill()))
	if _, err := io.Copy(io.Discard, rc); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v, want that it ended unexpectedly", err)
	}
	must(t, rc.Close())
	if _, err := d.Image(t.Context(), image); !errors.Is(err, control.ErrAbsent) {
		t.Errorf("without a sidecar the error is %v", err)
	}
	must(t, c.Close())
	l, err := socket{network: "unixpacket", path: at, group: -1}.listen(t.Context())
	must(t, err)
	must(t, l.Close())
}

// SIGTERM lets a layer that is under way come whole.
func TestASidecarThatIsStoppedFinishesItsLayers(t *testing.T) {
	t.Parallel()
	g, layer := pipelinetest.NewGraphDriver(t), largeLayer(t)
	image, diffID := g.Image(t, layer), digest.FromBytes(layer)
	cmd, socket := run(t, g.Root)
	c := control.New(socket)
	rc, err := c.Layer(t.Context(), g.Root, image, diffID)
	must(t, err)
	_, err = io.ReadFull(rc, make([]byte, 1<<20))
	must(t, errors.Join(err, cmd.Process.Signal(os.Interrupt)))
	rest, err := io.ReadAll(rc)
	must(t, errors.Join(err, rc.Close(), c.Close()))
	if len(rest) != len(layer)-1<<20 {
		t.Errorf("the rest has %d bytes", len(rest))
	}
	must(t, cmd.Wait())
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket is left: %v", err)
	}
}
