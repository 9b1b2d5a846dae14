package route

import (
	"net/http"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Switch hands requests to the registry that they are about. It wants the path as the
// client sent it: an http.ServeMux before it, which cleans paths, would redirect
// what has to be refused.
type Switch struct {
	Table *Table
	// Pushed answers for names that can be pushed, and for /v2/.
	Pushed *registry.Handler
	// Mirrored answers for one upstream; it is asked for those of the Table only.
	Mirrored func(upstream string) *registry.Handler
	// Permit says whether the caller may do this; an *registry.Error is the answer,
	// whose headers it may set. nil permits all.
	Permit func(w http.ResponseWriter, r *http.Request, t Target) error
	// Routed is told where a request goes, before it is answered, with an error where it goes
	// nowhere; it may be nil.
	Routed func(r *http.Request, t Target, err error)
}

var _ http.Handler = (*Switch)(nil)

// ServeHTTP answers one request.
func (s *Switch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, err := s.Table.Target(r.Method, r.URL)
	if err == nil && s.Permit != nil {
		err = s.Permit(w, r, t)
	}
	if s.Routed != nil {
		s.Routed(r, t, err)
	}
	if err != nil {
		registry.Headers(w)
		asError(err).Answer(w)
		return
	}
	h := s.Pushed
	if t.Kind == Mirrored {
		h = s.Mirrored(t.Upstream)
	}
	h.ServePath(w, r, t.Path, t.As)
}
