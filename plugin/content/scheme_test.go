package content_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/content"
)

func schemes(cfg content.Config) pipeline.Schemes { return pipeline.Schemes{content.Scheme(cfg)} }

// A location names an image, and where containerd is if that is not the usual
// place. Mistakes are found before containerd is asked.
func ExampleScheme() {
	schemes := pipeline.Schemes{content.Scheme(content.Config{})}
	_, err := schemes.Source("containerd://busybox:1.36?namespace=k8s.io&address=/run/k3s/containerd/containerd.sock")
	fmt.Println("source:", err)
	_, err = schemes.Sink("containerd://")
	fmt.Println("destination that keeps names:", err)
	_, err = schemes.Source("containerd://busybox?namspace=moby")
	fmt.Println("mistake:", err)
	// Output:
	// source: <nil>
	// destination that keeps names: <nil>
	// mistake: containerd:// has no option "namspace"; did you mean "namespace"?
}

func TestMistakesOfALocationNameTheRemedy(t *testing.T) {
	t.Parallel()
	const d = "sha256:e56bc0f7fc7d4452b17eb4ac0a9261ff4c9a469afa45d2b673e03650716d095d"
	for uri, want := range map[string]string{
		"containerd://":                              "needs an image",
		"containerd://u:p@app":                       "no user or password",
		"containerd://app?namespace=a/b":             "no namespace",
		"containerd://app?address=tcp://127.0.0.1:1": "path of a socket",
		"containerd://app?address=unix://":           "path of a socket",
		"containerd://app?unpack=false":              "no meaning for a source",
		"containerd://app?rediff=perhaps":            "true or false",
		"containerd://app?snapshotter=zfs":           "rediff=true",
	} {
		_, err := schemes(content.Config{}).Source(uri)
		checkUsage(t, uri, err, want)
	}
	for uri, want := range map[string]string{
		"containerd://" + d:                             "cannot be a destination",
		"containerd://app@" + d:                         "cannot be a destination",
		"containerd://Not A Name":                       "cannot be a destination",
		"containerd://app?unpack=perhaps":               "true or false",
		"containerd://app?unpack=false&snapshotter=zfs": "contradict",
		"containerd://app?recompress=shrink":            "shrink",
	} {
		_, err := schemes(content.Config{}).Sink(uri)
		checkUsage(t, uri, err, want)
	}
}

func checkUsage(t *testing.T, uri string, err error, want string) {
	t.Helper()
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error is %v; want a usage error with %q", uri, err, want)
	}
}

// No socket, and nobody behind it: each says what helps, at both ends, and the
// location counts before what the program was told.
func TestUnreachableContainerdNamesTheRemedy(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "ctrd") //nolint:usetesting // t.TempDir may be longer than the 107 bytes of a socket's path
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	dead := filepath.Join(dir, "dead")
	// Bound and never listened at: a listener that is closed lives on for a moment
	// in the programs that other tests start.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: dead}))
	must(t, syscall.Close(fd))
	for _, tc := range []struct {
		uri, address string
		is           error
		says         string
	}{
		{"containerd://app?address=" + dir + "/none", dead, fs.ErrNotExist, dir + "/none"},
		{"containerd://app?address=unix://" + dir + "/none", dead, fs.ErrNotExist, dir + "/none"},
		{"containerd://app", dead, syscall.ECONNREFUSED, dead},
	} {
		s := schemes(content.Config{Address: tc.address})
		src, err := s.Source(tc.uri)
		must(t, err)
		_, sourceErr := src.Open(t.Context(), pipeline.Query{})
		sink, err := s.Sink(tc.uri)
		must(t, err)
		_, sinkErr := sink.Plan(context.Background(), pipeline.Layer{})
		must(t, sink.Close())
		for side, err := range map[string]error{"source": sourceErr, "sink": sinkErr} {
			if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "start it, or name another one") {
				t.Errorf("%s of %s: %v", side, tc.uri, err)
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func decode(t testing.TB, raw []byte, v any) {
	t.Helper()
	must(t, json.Unmarshal(raw, v))
}
