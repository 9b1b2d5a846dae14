package remote_test

import (
	"testing"

	"github.com/occystrap/occystrap/pipeline"
)

// One after the other, requests go over one connection, and those that send
// nothing have no body: the Python original opened a connection for each and
// sent "null".
func TestConnectionsAreUsedAgainAndGetsHaveNoBody(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	far := serve(t, s)
	o := pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}, Parallel: 1}
	if _, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", o); err != nil {
		t.Fatal(err)
	}
	from := map[string]bool{}
	asked := far.requests("")
	for _, r := range asked {
		from[r.RemoteAddr] = true
		if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
			t.Errorf("%s %s has a body", r.Method, r.URL)
		}
	}
	// Loopback registries are tried by HTTPS first, over a connection of its own.
	if most := 2; len(asked) < len(m.Layers)+2 || len(from) > most {
		t.Errorf("%d requests came over %d connections", len(asked), len(from))
	}
}
