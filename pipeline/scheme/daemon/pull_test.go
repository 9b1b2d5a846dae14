package daemon_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
)

// puller is a containerd store that comes to our registry, and answers a pull.
func puller(t testing.TB, answer http.HandlerFunc) *fake {
	t.Helper()
	return start(t, &fake{api: "1.51", indexes: true, pull: answer})
}

// says answers a request with a stream.
func says(stream string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, stream) }
}

// TestPullThatFailsIsAnError: what the daemon complains of, or a stream that is
// cut, fails the run; no name is given, and the temporary one is taken away.
func TestPullThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ answer, want string }{
		"disk full":       {`{"status":"Pulling"}{"errorDetail":{"message":"no space left on device"}}`, "could not pull: no space left on device"},
		"stops half way":  {`{"status":"Pulling"}{"stat`, "read what the daemon says of the pull"},
		"stops with text": {`Bad Gateway`, "read what the daemon says of the pull"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := puller(t, says(tc.answer))
			store, root, layers := stocked(t, "a")
			_, err := into(t, f, "app:1", store.Source(root), 4)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v; want %q", err, tc.want)
			}
			if tags := f.tags(); len(tags) > 0 || len(f.loads) > 0 {
				t.Errorf("names were given: %v; loads: %v", tags, f.loads)
			}
			if store.Opened(layers[0].Digest) > 0 {
				t.Error("a layer was opened that nobody asked for")
			}
			if len(f.removed) != 1 || !strings.Contains(f.removed[0], "/occystrap/pulled:") {
				t.Errorf("taken away: %v; want the temporary name", f.removed)
			}
		})
	}
}

// TestPullIsCheckedNotBelieved: a daemon that says that it has pulled, and holds
// nothing of it, is sent everything.
func TestPullIsCheckedNotBelieved(t *testing.T) {
	t.Parallel()
	f := puller(t, says(`{"status":"Status: Downloaded newer image"}`))
	store, root, layers := stocked(t, "a", "b")
	report, err := into(t, f, "app:1", store.Source(root), 4)
	must(t, err)
	if got := f.lastLoad(); len(got) != len(layers) {
		t.Errorf("%d layers were loaded, want %d", len(got), len(layers))
	}
	if f.tags()["docker.io/library/app:1"] != root.Digest.String() || report.Roots[0].Manifest.Digest != root.Digest {
		t.Errorf("names in the daemon: %v", f.tags())
	}
}

// TestImageThatIsThereIsOnlyNamed: whole, and under its digest: nothing is pulled.
func TestImageThatIsThereIsOnlyNamed(t *testing.T) {
	t.Parallel()
	f := puller(t, says(`{"status":"done"}`))
	store, root, layers := stocked(t, "a")
	_, err := into(t, f, "app:1", store.Source(root), 4)
	must(t, err)
	before := len(f.seen())
	report, err := into(t, f, "app:2", store.Source(root), 4)
	must(t, err)
	for _, r := range f.seen()[before:] {
		if strings.Contains(r, "/images/create") || strings.Contains(r, "/images/load") {
			t.Errorf("the daemon was asked %s", r)
		}
	}
	if f.tags()["docker.io/library/app:2"] != root.Digest.String() || report.Layers[0].How != pipeline.HowHeld || report.Reused != layers[0].Size {
		t.Errorf("names in the daemon: %v; layer %v", f.tags(), report.Layers[0].How)
	}
}
