package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// TestMissingImageNamesIt: an image that is not there is named, with the
// daemon.
func TestMissingImageNamesIt(t *testing.T) {
	t.Parallel()
	f := start(t, new(fake))
	_, err := tryPull(t, f.uri("nobody/nothing:1"), daemon.Config{}, pipeline.Query{})
	if !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), "nobody/nothing:1") || !strings.Contains(err.Error(), f.host) {
		t.Errorf("error is %v; want not found, with image and socket", err)
	}
}

// TestAPIErrorShowsStatusAndBody: any other answer is shown as it came.
func TestAPIErrorShowsStatusAndBody(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{500: "500", 403: "403", 503: "503", 409: "409"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			f := start(t, &fake{status: status, body: "the graph is upside down"})
			_, err := tryPull(t, f.uri("app"), daemon.Config{}, pipeline.Query{})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the graph is upside down") {
				t.Errorf("error is %v; want status %s and the body", err, want)
			}
		})
	}
}

// TestUnreachableDaemonNamesTheRemedy: no socket, nobody behind it, no
// permission: each says what helps, at both ends.
func TestUnreachableDaemonNamesTheRemedy(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "engine") //nolint:usetesting // t.TempDir may be longer than the 107 bytes of a socket's path
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	// Root may open every socket, so the refusal is played.
	denied := func(context.Context) (client.APIClient, error) {
		return client.New(client.WithHost("unix:///denied.sock"), client.WithDialContext(func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
		}))
	}
	for _, tc := range []struct {
		name, uri string
		cfg       daemon.Config
		is        error
		want      []string
	}{
		{"no socket", "docker://app?socket=" + dir + "/none", daemon.Config{}, fs.ErrNotExist, []string{dir + "/none", "start it", "DOCKER_HOST"}},
		{"nobody listens", "docker://app?socket=" + dead, daemon.Config{}, syscall.ECONNREFUSED, []string{dead, "start it", "DOCKER_HOST"}},
		{"permission denied", "docker://app", daemon.Config{Client: denied}, fs.ErrPermission, []string{"permission denied", "/denied.sock", "group", "root"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := tryPull(t, tc.uri, tc.cfg, pipeline.Query{})
			sink, sinkErr := schemes(tc.cfg).Sink(tc.uri)
			must(t, sinkErr)
			_, sinkErr = sink.Plan(context.Background(), pipeline.Layer{})
			must(t, sink.Close())
			for side, err := range map[string]error{"source": err, "sink": sinkErr} {
				if !errors.Is(err, tc.is) {
					t.Errorf("%s: error is %v; want %v in it", side, err, tc.is)
					continue
				}
				for _, w := range tc.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%s: error %q lacks %q", side, err, w)
					}
				}
			}
		})
	}
}

// TestClientErrorIsPassedOn: a Docker context that does not work says so.
func TestClientErrorIsPassedOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("context \"far\" does not exist")
	cfg := daemon.Config{Client: func(context.Context) (client.APIClient, error) { return nil, broken }}
	if _, err := tryPull(t, "docker://app", cfg, pipeline.Query{}); !errors.Is(err, broken) {
		t.Errorf("source: %v", err)
	}
	sink, err := schemes(cfg).Sink("docker://app")
	must(t, err)
	if _, err := sink.Plan(context.Background(), pipeline.Layer{}); !errors.Is(err, broken) {
		t.Errorf("sink: %v", err)
	}
	must(t, sink.Close())
}

// TestConfigClientIsUsedAndSocketWins: the program's own connection is used
// unless the location names a socket.
func TestConfigClientIsUsedAndSocketWins(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", false))
	f := start(t, new(fake)).holds(t, i, "app:latest", saved24(t, i, "app:latest"))
	asked := 0
	cfg := daemon.Config{Client: func(context.Context) (client.APIClient, error) {
		asked++
		if asked > 1 {
			return nil, fmt.Errorf("asked %d times", asked)
		}
		return client.New(client.WithHost(f.host))
	}}
	pull(t, "docker://app", cfg, pipeline.Query{})
	pull(t, f.uri("app"), cfg, pipeline.Query{})
	if asked != 1 {
		t.Errorf("Client was asked %d times, want once", asked)
	}
}
