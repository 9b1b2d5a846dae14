package remote

import (
	_ "crypto/sha512" // go-digest finds hash functions by their registration
	"net"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Reference names an image in a registry.
type Reference struct {
	// Host is as users write it, with its port; Docker Hub is "docker.io".
	Host string
	// Repository is the path below the host ("library/busybox").
	Repository string
	// Tag is "" only when Digest is set.
	Tag string
	// Digest, when set, says which manifest is meant; the tag is a note then.
	Digest digest.Digest
}

const (
	hubHost = "docker.io"
	// hubAPI is where Docker Hub's API is served.
	hubAPI     = "registry-1.docker.io"
	defaultTag = "latest"
	// maxRepository is the limit that distribution/reference sets.
	maxRepository = 255
)

var (
	hostPattern       = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$`)
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
)

// ParseReference reads the two parts of a registry URI: its host, and a path
// REPOSITORY[:TAG][@DIGEST]. Without both tag and digest the tag is "latest".
// All names of Docker Hub are one host, and its one-part names get "library/".
// A bad part is a UsageError.
func ParseReference(host, path string) (Reference, error) {
	r := Reference{Host: host}
	path = strings.TrimPrefix(path, "/")
	if host == "" || path == "" {
		return r, pipeline.Usage("registry://%s%s names no image; write registry://HOST/REPOSITORY[:TAG], as in registry://docker.io/library/busybox", host, path)
	}
	if !hostPattern.MatchString(host) {
		if host == "https:" || host == "http:" {
			return r, pipeline.Usage("registry://%s//%s: leave out %s//, as in registry://docker.io/library/busybox; HTTP is asked for with --insecure", host, strings.TrimLeft(path, "/"), host)
		}
		return r, pipeline.Usage("registry host %q is not a host name or address with an optional port", host)
	}
	name, dgst, hasDigest := strings.Cut(path, "@")
	if hasDigest {
		r.Digest = digest.Digest(dgst)
		if err := r.Digest.Validate(); err != nil {
			return r, pipeline.Usage("%q is not a digest (%v); write sha256: and 64 hexadecimal digits", dgst, err)
		}
	}
	r.Repository = name
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		r.Repository, r.Tag = name[:i], name[i+1:]
		if !registry.ValidTag(r.Tag) {
			return r, pipeline.Usage("%q is not a tag: letters, digits, '_', '.' and '-', at most 128, are", r.Tag)
		}
	}
	if r.Tag == "" && !hasDigest {
		r.Tag = defaultTag
	}
	switch strings.ToLower(host) {
	case hubHost, "index." + hubHost, hubAPI:
		r.Host = hubHost
		if !strings.Contains(r.Repository, "/") {
			r.Repository = "library/" + r.Repository
		}
	}
	if !repositoryPattern.MatchString(r.Repository) || len(r.Repository) > maxRepository {
		return r, pipeline.Usage("%q is not a repository name: lower-case letters and digits, separated by '/', '.', '_' or '-', are", r.Repository)
	}
	return r, nil
}

// ParseName reads an image name as Docker's users write it: the first part is a
// host if it has a dot or a colon, or is "localhost"; otherwise the name is
// Docker Hub's.
func ParseName(name string) (Reference, error) {
	first, rest, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return ParseReference(first, rest)
	}
	return ParseReference(hubHost, name)
}

// String is the full name: HOST/REPOSITORY with the tag, or else the digest.
func (r Reference) String() string {
	if r.Tag == "" {
		return r.Origin() + "@" + r.Digest.String()
	}
	return r.Origin() + ":" + r.Tag
}

// Full is the reference with all that it says, as ParseReference and ParseName
// read it again.
func (r Reference) Full() string {
	s := r.Origin()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Origin is the repository with its host.
func (r Reference) Origin() string { return r.Host + "/" + r.Repository }

// version is what the manifest is asked for by: the digest if there is one.
func (r Reference) version() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// api is the host that the registry's API is served from.
func (r Reference) api() string {
	if r.Host == hubHost {
		return hubAPI
	}
	return r.Host
}

// isAddress says whether a host without port is an IP address.
func isAddress(host string) bool { return net.ParseIP(host) != nil }

// isLoopback says whether a host, with or without a port, is this machine, by
// its name alone: no resolver is asked.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
