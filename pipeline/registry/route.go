package registry

import (
	_ "crypto/sha256" // go-digest finds hash functions by their registration
	_ "crypto/sha512"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// maxRepository is the limit that clients set (distribution/reference).
const maxRepository = 255

// The grammar of the specification ("Pulling manifests"), and of our own IDs.
var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	uploadPattern     = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// endpoint is a kind of path.
type endpoint int

const (
	endBase endpoint = iota
	endBlob
	endUploads
	endUpload
	endManifest
	endTags
	endReferrers
)

// A target is what a request's path names. Names are valid; ref is the last
// part of the path, as it came.
type target struct {
	end        endpoint
	repository string
	ref        string
}

// route reads a path from its end, since parts of a repository's name may be
// called "blobs" or "manifests" too.
func route(u *url.URL) (t target, err error) {
	nowhere := &Error{Code: NameUnknown, Message: "the path is none of the distribution API"}
	rest, ok := strings.CutPrefix(u.Path, "/v2")
	switch {
	case !ok:
		return t, nowhere
	case rest == "" || rest == "/":
		return target{}, nil
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
		t.end = endUploads
	case kind == "blobs":
		t.end = endBlob
	case kind == "manifests":
		t.end = endManifest
	case kind == "tags" && last == "list":
		t.end = endTags
	case kind == "referrers":
		t.end = endReferrers
	case kind == "uploads" && n > 4 && parts[n-3] == "blobs":
		name, t.end = parts[1:n-3], endUpload
		if last == "" {
			t.end = endUploads
		}
	default:
		return t, nowhere
	}
	t.repository, t.ref = strings.Join(name, "/"), last
	if !validRepository(t.repository) {
		return t, &Error{Code: NameInvalid, Message: "a repository's name is lower-case letters and digits, separated by '/', '.', '_' or '-'"}
	}
	return t, nil
}

func validRepository(name string) bool {
	return len(name) <= maxRepository && repositoryPattern.MatchString(name)
}

// digest reads the last part of the path.
func (t target) digest() (digest.Digest, error) { return parseDigest(t.ref) }

// manifest reads the last part of the path as a tag or a digest.
func (t target) manifest() (Ref, error) {
	if strings.Contains(t.ref, ":") {
		d, err := t.digest()
		return Ref{Digest: d}, err
	}
	if err := checkTag(t.ref); err != nil {
		return Ref{}, err
	}
	return Ref{Tag: t.ref}, nil
}

func checkTag(tag string) error {
	if !tagPattern.MatchString(tag) {
		// The specification has no code for tags.
		return &Error{Code: ManifestInvalid, Message: "a tag is letters, digits, '_', '.' and '-', at most 128"}
	}
	return nil
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
