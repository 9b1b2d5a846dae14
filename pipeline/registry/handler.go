package registry

import (
	"errors"
	"net/http"
	"time"

	"github.com/occystrap/occystrap/pipeline"
)

// Options of a Handler; the zero value works.
type Options struct {
	// MaxManifest is the size of the largest manifest in bytes; 0 is that of
	// pipeline.Limits, which is above the 4 MiB that the specification demands.
	MaxManifest int64
	// Stall is how long a client may move no byte before its request ends; 0 is a
	// minute.
	Stall time.Duration
	// Failed is told of errors that are not the client's fault: clients learn
	// nothing of them but the status. nil tells nobody.
	Failed func(r *http.Request, err error)
}

// defaultStall is what clients themselves wait for: docker and containerd end a
// transfer after 30 to 60 s without progress.
const defaultStall = time.Minute

// A Handler serves a Backend. It sets the deadlines of its connections itself,
// and may be used by many requests at once.
type Handler struct {
	b        Backend
	o        Options
	sessions sessions
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler over a backend.
func New(b Backend, o Options) *Handler {
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	if o.MaxManifest <= 0 {
		o.MaxManifest = pipeline.Limits{}.WithDefaults().Manifest
	}
	return &Handler{b: b, o: o}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, err := ParsePath(r.URL)
	if err != nil {
		Headers(w)
		h.fail(w, r, err, unknownAt(p.Endpoint))
		h.rest(w)
		return
	}
	h.ServePath(w, r, p, As{})
}

// ServePath answers a request whose path was read already, for the repository
// that the path names here; the client may call it otherwise.
func (h *Handler) ServePath(w http.ResponseWriter, r *http.Request, p Path, as As) {
	Headers(w)
	if as.Name == "" {
		as.Name = p.Repository
	}
	if err := h.serve(w, r, target{p, as}); err != nil {
		h.fail(w, r, err, unknownAt(p.Endpoint))
	}
	h.rest(w)
}

// rest sees to what is left of a body, which the server reads: a client that sends
// it slowly must not hold the connection.
func (h *Handler) rest(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.o.Stall)) // not all connections have deadlines
}

// Headers sets what every answer of a registry has; errors that are answered before a
// Handler is asked, too.
func Headers(w http.ResponseWriter) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// serve does what a request asks for. An error means that nothing was answered.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, t target) error {
	switch t.Endpoint {
	case EndBlob:
		return h.blob(w, r, t)
	case EndUploads:
		if r.Method != http.MethodPost {
			return notAllowed(w, http.MethodPost)
		}
		return h.startUpload(w, r, t)
	case EndUpload:
		return h.upload(w, r, t)
	case EndManifest:
		return h.manifest(w, r, t)
	default:
		return h.list(w, r, t)
	}
}

// list does what can only be read: lists, and the base of the API.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, t target) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return notAllowed(w, http.MethodGet, http.MethodHead)
	}
	switch t.Endpoint {
	case EndTags:
		return h.listTags(w, r, t)
	case EndReferrers:
		return h.listReferrers(w, r, t)
	default:
		return h.json(w, r, "application/json", struct{}{})
	}
}

// fail answers with an error, and tells the server's own.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error, unknown Code) {
	answer := answerFor(err, unknown)
	if answer.status() >= http.StatusInternalServerError {
		h.tell(r, err)
	}
	answer.Answer(w)
}

// tell reports an error, unless the client itself went away.
func (h *Handler) tell(r *http.Request, err error) {
	if h.o.Failed != nil && r.Context().Err() == nil {
		h.o.Failed(r, err)
	}
}

// unknownAt is the code for what is not there.
func unknownAt(e Endpoint) Code {
	switch e {
	case EndBlob:
		return BlobUnknown
	case EndUpload:
		return BlobUploadUnknown
	case EndManifest:
		return ManifestUnknown
	default:
		return NameUnknown
	}
}

// IsMissing says whether a backend answered that something is not there.
func IsMissing(err error) bool {
	var e *Error
	return errors.Is(err, pipeline.ErrNotFound) || errors.As(err, &e) && e.status() == http.StatusNotFound
}
