package route

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// hub is Docker Hub's name in references; it has others, of its servers.
const hub = "docker.io"

// hubOfficial is where Docker Hub has names of one part.
const hubOfficial = "library/"

// maxHost is the limit of DNS, and room for a port.
const maxHost = 253 + len(":65535")

// hostPattern is what can stand in a reference (distribution/reference), in lower
// case: clients write hosts so, and one host must not have two names here.
var hostPattern = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?$`)

// Host reads the name of a registry, with or without port, and returns the one
// that it goes by here: docker.io for the names of its servers.
func Host(name string) (string, error) {
	m := hostPattern.FindStringSubmatch(name)
	port := 0
	if m != nil && m[1] != "" {
		port, _ = strconv.Atoi(m[1]) // five digits at most
	}
	if m == nil || len(name) > maxHost || port > 65535 {
		return "", fmt.Errorf("%.80q is no registry's name; it takes one like ghcr.io or registry.example:5000, in lower case", name)
	}
	switch name {
	case "index.docker.io", "registry-1.docker.io":
		return hub, nil
	}
	return name, nil
}

// likeHost says whether the first part of a name is a registry's, as clients decide it:
// it has a dot, or is localhost. A path cannot have the colon of a port.
func likeHost(part string) bool { return strings.Contains(part, ".") || part == "localhost" }

// official puts names of one part where Docker Hub has them.
func official(host, repository string) string {
	if host == hub && !strings.Contains(repository, "/") {
		return hubOfficial + repository
	}
	return repository
}
