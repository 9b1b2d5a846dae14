package daemon_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// TestLocationMistakesAreUsageErrors: what a location cannot mean is refused
// before a daemon is asked, with the remedy.
func TestLocationMistakesAreUsageErrors(t *testing.T) {
	t.Parallel()
	source, sink := pipeline.SourceSide, pipeline.SinkSide
	for _, tc := range []struct {
		name, uri string
		side      pipeline.Side
		want      string
	}{
		{"source without a name", "docker://", source, "docker://NAME[:TAG]"},
		{"unknown lane out", "docker://a?lane=nosuch", source, "there is push, save"},
		{"lane in as a lane out", "docker://a?lane=load", source, "there is push, save"},
		{"unknown lane in", "docker://a?lane=nosuch", sink, "there is pull, load"},
		{"also at a destination", "docker://a?also=b", sink, "no meaning for a destination"},
		{"misspelt option", "docker://a?soket=/x", source, `did you mean "socket"`},
		{"bad also", "docker://a?also=B", source, `"B"`},
		{"ssh", "docker://a?socket=ssh://host", source, "options host and context"},
		{"two daemons", "docker://a?socket=/x&context=far", source, "give one of them"},
		{"host of another kind", "docker://a?host=npipe://x", source, "ssh://USER@HOST"},
		{"no address", "docker://a?socket=tcp://", source, "tcp://HOST:PORT"},
		{"user", "docker://jo:secret@host/a", source, "no user"},
		{"digest as a destination", "docker://a@sha256:" + strings.Repeat("0", 64), sink, "docker://NAME[:TAG]"},
		{"ID as a destination", "docker://sha256:" + strings.Repeat("0", 64), sink, "docker://NAME[:TAG]"},
		{"bad name", "docker://A", sink, "docker://NAME[:TAG]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var err error
			if tc.side == source {
				_, err = schemes(daemon.Config{}).Source(tc.uri)
			} else {
				_, err = schemes(daemon.Config{}).Sink(tc.uri)
			}
			var usage *pipeline.UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v; want a usage error with %q", tc.uri, err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// TestSocketOption: the socket may be a path, percent-encoded or not, or a URL;
// the lane may be named.
func TestSocketOption(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", false))
	f := start(t, new(fake)).holds(t, i, "app:latest", saved24(t, i, "app:latest"))
	path := strings.TrimPrefix(f.host, "unix://")
	for _, option := range []string{"socket=" + path, "socket=" + url.QueryEscape(path), "socket=" + f.host, "socket=" + path + "&lane=save"} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			got := pull(t, "docker://app?"+option, daemon.Config{}, pipeline.Query{})
			if len(got.manifests) != 1 {
				t.Errorf("got %d manifests, want 1", len(got.manifests))
			}
		})
	}
}

// TestTCPDaemon: a daemon behind TCP is reached like one behind a socket, by
// option and by DOCKER_HOST.
func TestTCPDaemon(t *testing.T) {
	i := newImage(t, "amd64", newLayer(t, "a", false))
	f := startTCP(t, new(fake)).holds(t, i, "app:latest", saved24(t, i, "app:latest"))
	t.Setenv("DOCKER_HOST", "unix:///nowhere.sock")
	pull(t, f.uri("app"), daemon.Config{}, pipeline.Query{})
	t.Setenv("DOCKER_HOST", f.host)
	pull(t, "docker://app", daemon.Config{}, pipeline.Query{})
}

// TestDefaultSocket: without option and environment it is Docker's own socket.
func TestDefaultSocket(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	src, err := schemes(daemon.Config{}).Source("docker://occystrap.invalid/no-such-image")
	must(t, err)
	g, err := src.Open(context.Background(), pipeline.Query{})
	if err == nil {
		must(t, g.Close())
		t.Fatal("an image that cannot exist was found")
	}
	if !strings.Contains(err.Error(), "unix:///var/run/docker.sock") {
		t.Errorf("error %q does not name the default socket", err)
	}
}
