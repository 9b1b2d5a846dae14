package registry

import (
	_ "crypto/sha256" // go-digest finds hash functions by their registration
	_ "crypto/sha512"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// maxRepository is the limit that clients set (distribution/reference).
const maxRepository = 255

// maxTag is the specification's limit.
const maxTag = 128

// The grammar of the specification ("Pulling manifests"), and of our own IDs.
var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	uploadPattern     = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// An Endpoint is a kind of path (specification, "Endpoints").
type Endpoint int

// The endpoints. EndBase is /v2/ itself.
const (
	EndBase Endpoint = iota
	EndBlob
	EndUploads
	EndUpload
	EndManifest
	EndTags
	EndReferrers
)

// String is a word for logs and metrics.
func (e Endpoint) String() string {
	return [...]string{"base", "blob", "uploads", "upload", "manifest", "tags", "referrers"}[e]
}

// A Path is what a request's path names. The repository is valid; Ref is the
// last part of the path, as it came.
type Path struct {
	Endpoint   Endpoint
	Repository string
	Ref        string
}

// A target is a Path for one backend: Repository is the backend's name, as the
// client's, and what addresses that are given to the client need.
type target struct {
	Path
	as As
}

// As is what a client calls a repository that the backend calls otherwise. Addresses in
// answers are the client's.
type As struct {
	// Name is the repository in the client's paths.
	Name string
	// Query belongs to each address besides: a mirror's ns.
	Query url.Values
}

// address is where a client finds something of the repository.
func (t target) address(rest string, query url.Values) string {
	q := url.Values{}
	maps.Copy(q, t.as.Query)
	maps.Copy(q, query)
	at := "/v2/" + t.as.Name + "/" + rest
	if len(q) > 0 {
		at += "?" + q.Encode()
	}
	return at
}

// ParsePath reads a path from its end, since parts of a repository's name may be
// called "blobs" or "manifests" too. Errors are *Error.
func ParsePath(u *url.URL) (t Path, err error) {
	nowhere := &Error{Code: NameUnknown, Message: "the path is none of the distribution API"}
	rest, ok := strings.CutPrefix(u.Path, "/v2")
	switch {
	case !ok:
		return t, nowhere
	case rest == "" || rest == "/":
		return Path{}, nil
	case strings.Contains(strings.ToLower(u.RawPath), "%2f"):
		return t, &Error{Code: NameInvalid, Message: "a path must not have an encoded slash"}
	}
	parts := strings.Split(rest, "/") // the first is "" or no part of "/v2/"
	n := len(parts)
	if parts[0] != "" || n < 4 {
		return t, nowhere
	}
	name := parts[1 : n-2]
	kind, last := parts[n-2], parts[n-1]
	switch {
	case kind == "blobs" && last == "uploads":
		t.Endpoint = EndUploads
	case kind == "blobs":
		t.Endpoint = EndBlob
	case kind == "manifests":
		t.Endpoint = EndManifest
	case kind == "tags" && last == "list":
		t.Endpoint = EndTags
	case kind == "referrers":
		t.Endpoint = EndReferrers
	case kind == "uploads" && n > 4 && parts[n-3] == "blobs":
		name, t.Endpoint = parts[1:n-3], EndUpload
		if last == "" {
			t.Endpoint = EndUploads
		}
	default:
		return t, nowhere
	}
	t.Repository, t.Ref = strings.Join(name, "/"), last
	if !ValidRepository(t.Repository) {
		return t, &Error{Code: NameInvalid, Message: "a repository's name is lower-case letters and digits, separated by '/', '.', '_' or '-'"}
	}
	return t, nil
}

// ValidRepository says whether a name is one of the specification's grammar, and
// not longer than clients take.
func ValidRepository(name string) bool {
	return len(name) <= maxRepository && repositoryPattern.MatchString(name)
}

// digest reads the last part of the path.
func (t Path) digest() (digest.Digest, error) { return parseDigest(t.Ref) }

// manifest reads the last part of the path as a tag or a digest.
func (t Path) manifest() (Ref, error) {
	if strings.Contains(t.Ref, ":") {
		d, err := t.digest()
		return Ref{Digest: d}, err
	}
	if err := checkTag(t.Ref); err != nil {
		return Ref{}, err
	}
	return Ref{Tag: t.Ref}, nil
}

func checkTag(tag string) error {
	if !ValidTag(tag) {
		// The specification has no code for tags.
		return &Error{Code: ManifestInvalid, Message: "a tag is letters, digits, '_', '.' and '-', at most 128"}
	}
	return nil
}

// ValidTag says whether a tag is one of the specification's grammar,
// [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func ValidTag(tag string) bool {
	for i := range len(tag) {
		switch c := tag[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case i > 0 && (c == '.' || c == '-'):
		default:
			return false
		}
	}
	return tag != "" && len(tag) <= maxTag
}

func parseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if err := d.Validate(); err != nil || checkAlgorithm(d.Algorithm()) != nil {
		return "", badDigest("a digest is sha256: or sha512: and lower-case hexadecimal digits")
	}
	return d, nil
}

// checkAlgorithm refuses what the image specification does not register.
func checkAlgorithm(a digest.Algorithm) error {
	if a != digest.SHA256 && a != digest.SHA512 {
		return badDigest("digests are sha256 or sha512")
	}
	return nil
}

// notAllowed answers a method that a path does not know.
func notAllowed(w http.ResponseWriter, methods ...string) error {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return &Error{Code: Unsupported, Message: "the path does not know this method"}
}
