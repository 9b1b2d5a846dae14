package view

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
)

// dockerHost is where names without a host are from.
const dockerHost = "docker.io"

// read finds out what a request is about. The repository of the path that it
// returns is the whole name, as containerd has it, which with ns may have a port.
func read(r *http.Request) (p registry.Path, as registry.As, err error) {
	if p, err = registry.ParsePath(r.URL); err != nil {
		return p, as, err
	}
	as.Name = p.Repository
	q, err := url.ParseQuery(r.URL.RawQuery)
	ns := q["ns"]
	switch {
	case err != nil:
		return p, as, badName("the query of the address is broken")
	case p.Endpoint == registry.EndBase:
		return p, as, nil
	case len(ns) > 1:
		return p, as, badName("ns is there twice; it names one registry")
	case len(ns) == 1:
		as.Query = url.Values{"ns": ns}
		p.Repository, err = whole(ns[0], p.Repository)
		return p, as, err
	}
	host, path := dockerHost, p.Repository
	if first, rest, more := strings.Cut(path, "/"); more && (strings.Contains(first, ".") || first == "localhost") {
		host, path = first, rest
	}
	p.Repository, err = whole(host, path)
	return p, as, err
}

// whole is a name with its host, and with Docker's "library/" where that is left out.
func whole(host, path string) (string, error) {
	host, err := route.Host(host)
	if err != nil {
		return "", badName(err.Error())
	}
	if host == dockerHost && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return host + "/" + path, nil
}

func badName(message string) error {
	return &registry.Error{Code: registry.NameInvalid, Message: message}
}
