package remote_test

import (
	"io"
	"net"
	"net/http"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

func schemes(cfg remote.Config) pipeline.Schemes { return pipeline.Schemes{remote.Scheme(cfg)} }

// tunnel is a proxy whose CONNECT always leads to one address.
func tunnel(to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer far.Close()
		w.WriteHeader(http.StatusOK)
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		go func() {
			_, _ = io.Copy(far, near) // ends with either connection
			_ = far.Close()
		}()
		_, _ = io.Copy(near, far)
	})
}
