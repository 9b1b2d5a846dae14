package daemon

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moby/moby/client"
)

// Podman makes no list while one of its images goes: it is asked again.
func TestListIsAskedForAgainWhereAnImageGoes(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case !strings.HasSuffix(r.URL.Path, "/images/json"):
			w.Header().Set("Api-Version", "1.41")
		case asked.Add(1) < 3:
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"message":"locating image with ID \"2dbc\": image not known"}`)
		default:
			fmt.Fprint(w, `[{"Id":"sha256:1"}]`)
		}
	}))
	defer srv.Close()
	cli, err := client.New(client.WithHost("tcp://" + strings.TrimPrefix(srv.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	listed, err := imagesOf(t.Context(), cli, client.ImageListOptions{})
	if err != nil || len(listed) != 1 {
		t.Errorf("it lists %v (%v)", listed, err)
	}
}
