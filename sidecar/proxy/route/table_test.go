package route_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
)

func table(t *testing.T, c route.Config) *route.Table {
	t.Helper()
	got, err := route.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// usual has what settings have.
var usual = route.Config{
	Upstreams: []string{"registry-1.docker.io", "ghcr.io", "registry.example:5000", "localhost", "[::1]:5000", "harbor"},
	Prefixes: []route.Prefix{
		{Prefix: "hub", Upstream: "docker.io"},
		{Prefix: "hub/team", Upstream: "ghcr.io", Rewrite: "our/team"},
		{Prefix: "quay", Upstream: "quay.io", Rewrite: "mirror"},
	},
	Default: "index.docker.io", DefaultPrefix: "",
}

func TestNamesLeadToWhereTheyBelong(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]struct {
		kind             route.Kind
		upstream, there  string
		as, query, other string
	}{
		"/v2/":                     {kind: route.Base},
		"/v2":                      {kind: route.Base},
		"/v2/app/tags/list":        {route.Pushed, "", "app", "app", "", "docker.io/library/app"},
		"/v2/team/app/manifests/1": {route.Pushed, "", "team/app", "team/app", "", "docker.io/team/app"},
		"/v2/hubs/app/manifests/1": {route.Pushed, "", "hubs/app", "hubs/app", "", "docker.io/hubs/app"},
		"/v2/node.js/manifests/1":  {route.Pushed, "", "node.js", "node.js", "", "docker.io/library/node.js"},
		"/v2/library/alpine/manifests/1?ns=docker.io":         {route.Mirrored, "docker.io", "library/alpine", "library/alpine", "ns=docker.io", ""},
		"/v2/alpine/manifests/1?ns=docker.io":                 {route.Mirrored, "docker.io", "library/alpine", "alpine", "ns=docker.io", ""},
		"/v2/alpine/manifests/1?ns=registry-1.docker.io":      {route.Mirrored, "docker.io", "library/alpine", "alpine", "ns=registry-1.docker.io", ""},
		"/v2/app/manifests/1?ns=ghcr.io":                      {route.Mirrored, "ghcr.io", "app", "app", "ns=ghcr.io", ""},
		"/v2/app/manifests/1?ns=registry.example:5000":        {route.Mirrored, "registry.example:5000", "app", "app", "ns=registry.example%3A5000", ""},
		"/v2/app/manifests/1?ns=registry.example%3A5000":      {route.Mirrored, "registry.example:5000", "app", "app", "ns=registry.example%3A5000", ""},
		"/v2/app/manifests/1?ns=[::1]:5000":                   {route.Mirrored, "[::1]:5000", "app", "app", "ns=%5B%3A%3A1%5D%3A5000", ""},
		"/v2/docker.io/library/alpine/manifests/1?ns=ghcr.io": {route.Mirrored, "ghcr.io", "docker.io/library/alpine", "docker.io/library/alpine", "ns=ghcr.io", ""},
		"/v2/docker.io/library/alpine/manifests/1":            {route.Mirrored, "docker.io", "library/alpine", "docker.io/library/alpine", "", ""},
		"/v2/docker.io/alpine/manifests/1":                    {route.Mirrored, "docker.io", "library/alpine", "docker.io/alpine", "", ""},
		"/v2/index.docker.io/alpine/manifests/1":              {route.Mirrored, "docker.io", "library/alpine", "index.docker.io/alpine", "", ""},
		"/v2/ghcr.io/owner/app/tags/list?n=1":                 {route.Mirrored, "ghcr.io", "owner/app", "ghcr.io/owner/app", "", ""},
		"/v2/localhost/app/tags/list":                         {route.Mirrored, "localhost", "app", "localhost/app", "", ""},
		"/v2/harbor/team/app/tags/list":                       {route.Mirrored, "harbor", "team/app", "harbor/team/app", "", ""},
		"/v2/harbor/tags/list":                                {route.Pushed, "", "harbor", "harbor", "", "docker.io/library/harbor"},
		"/v2/hub/alpine/tags/list":                            {route.Mirrored, "docker.io", "library/alpine", "hub/alpine", "", ""},
		"/v2/hub/team/app/tags/list":                          {route.Mirrored, "ghcr.io", "our/team/app", "hub/team/app", "", ""},
		"/v2/hub/team/tags/list":                              {route.Mirrored, "ghcr.io", "our/team", "hub/team", "", ""},
		"/v2/hub/teams/tags/list":                             {route.Mirrored, "docker.io", "library/teams", "hub/teams", "", ""},
		"/v2/quay/app/tags/list":                              {route.Mirrored, "quay.io", "mirror/app", "quay/app", "", ""},
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			got, err := table(t, usual).Target(http.MethodGet, u)
			if err != nil {
				t.Fatal(err)
			}
			other := strings.TrimPrefix(got.Else.Upstream+"/"+got.Else.Repository, "/")
			if got.Kind != want.kind || got.Upstream != want.upstream || got.Path.Repository != want.there || got.As.Name != want.as || got.As.Query.Encode() != want.query || other != want.other {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestWhatCanBeReadTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	for address, code := range map[string]registry.Code{
		"GET /v2/app/manifests/1?ns=docker.io&ns=ghcr.io":       registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io&ns=docker.io":     registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io&%6es=169.254.0.1": registry.NameInvalid,
		"GET /v2/?ns=docker.io&ns=ghcr.io":                      registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=":                           registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=Docker.io":                  registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io/library":          registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=user@docker.io":             registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=https://docker.io":          registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io%00":               registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io%0d%0aX-Evil:1":    registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=.docker.io":                 registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io.":                 registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io:":                 registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io:0":                registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io:65536":            registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io:443x":             registry.NameInvalid,
		"GET /v2/app/manifests/1?ns=docker.io;x=1":              registry.NameInvalid,
		"GET /v2/app/manifests/1?x=%zz":                         registry.NameInvalid,
		"GET /v2/docker.io%2Falpine/manifests/1":                registry.NameInvalid,
		"GET /v2/docker.io//alpine/manifests/1":                 registry.NameInvalid,
		"GET /v2/docker.io/../app/manifests/1":                  registry.NameInvalid,
		"GET /v2/docker..io/app/manifests/1":                    registry.NameInvalid,
		"GET /v2/doc_ker.io/app/manifests/1":                    registry.NameInvalid,
		"GET /v3/app/manifests/1":                               registry.NameUnknown,
		// Only what is configured is mirrored, under the name that is configured.
		"GET /v2/app/manifests/1?ns=docker.io:443":                        registry.NameUnknown,
		"GET /v2/app/manifests/1?ns=169.254.169.254":                      registry.NameUnknown,
		"GET /v2/app/manifests/1?ns=127.0.0.1:5000":                       registry.NameUnknown,
		"GET /v2/app/manifests/1?ns=example":                              registry.NameUnknown,
		"GET /v2/registry.example/app/manifests/1":                        registry.NameUnknown,
		"GET /v2/hub/tags/list":                                           registry.NameUnknown,
		"GET /v2/" + strings.Repeat("a", 250) + "/tags/list?ns=docker.io": registry.NameUnknown, // too long as library/…
		// Nothing is pushed to what is mirrored, known or not.
		"PUT /v2/app/manifests/1?ns=docker.io":             registry.Denied,
		"PUT /v2/app/manifests/1?ns=unknown.example":       registry.Denied,
		"POST /v2/docker.io/library/alpine/blobs/uploads/": registry.Denied,
		"POST /v2/unknown.example/app/blobs/uploads/":      registry.Denied,
		"PUT /v2/harbor/app/manifests/1":                   registry.Denied,
		"DELETE /v2/hub/alpine/manifests/1":                registry.Denied,
		"PUT /v2/hub/manifests/1":                          registry.Denied,
		"PATCH /v2/localhost/app/blobs/uploads/x":          registry.Denied,
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			method, rest, _ := strings.Cut(address, " ")
			u, err := url.Parse(rest)
			if err != nil {
				t.Fatal(err)
			}
			got, err := table(t, usual).Target(method, u)
			var e *registry.Error
			if !errors.As(err, &e) || e.Code != code || e.Message == "" {
				t.Errorf("%+v and %v, want %s", got, err, code)
			}
		})
	}
}

func TestADefaultUpstreamIsThereWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	if got := table(t, route.Config{Upstreams: []string{"docker.io"}}).Else("app"); got != (route.Place{}) {
		t.Errorf("nobody asked for %+v", got)
	}
	got := table(t, route.Config{Default: "ghcr.io", DefaultPrefix: "our/team"})
	if e := got.Else("app"); e != (route.Place{Upstream: "ghcr.io", Repository: "our/team/app"}) {
		t.Errorf("%+v", e)
	}
	if names := got.Upstreams(); len(names) != 1 || names[0] != "ghcr.io" {
		t.Errorf("upstreams are %q", names)
	}
}

func TestMistakesInPrefixesAreTold(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]route.Config{
		"no registry's name": {Upstreams: []string{"Docker.io"}},
		"https://docker.io":  {Upstreams: []string{"https://docker.io"}},
		"takes parts":        {Prefixes: []route.Prefix{{Prefix: "Hub", Upstream: "docker.io"}}},
		"begins like":        {Prefixes: []route.Prefix{{Prefix: "ghcr.io/x", Upstream: "docker.io"}}},
		"rewrite":            {Prefixes: []route.Prefix{{Prefix: "hub", Upstream: "docker.io", Rewrite: "/x"}}},
		"twice":              {Prefixes: []route.Prefix{{Prefix: "hub", Upstream: "docker.io"}, {Prefix: "hub", Upstream: "ghcr.io"}}},
		"upstream's prefix":  {Default: "ghcr.io", DefaultPrefix: "X"},
		"an upstream":        {Default: "ghcr.io/team"},
	} {
		if _, err := route.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

// FuzzTarget: whatever is asked for, only what is configured is mirrored, and nothing
// mirrored can be written.
func FuzzTarget(f *testing.F) {
	f.Add("GET", "/v2/app/manifests/1", "ns=docker.io")
	f.Add("PUT", "/v2/docker.io/library/alpine/manifests/1", "")
	f.Add("GET", "/v2/hub/team/app/tags/list", "ns=a&ns=b")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		tab, err := route.New(usual)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tab.Target(method, &url.URL{Path: path, RawQuery: query})
		var e *registry.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%v is no answer", err)
		}
		if err != nil || got.Kind == route.Base {
			return
		}
		if !registry.ValidRepository(got.Path.Repository) {
			t.Errorf("repository %q", got.Path.Repository)
		}
		known := false
		for _, name := range tab.Upstreams() {
			known = known || name == got.Upstream
		}
		if got.Kind == route.Mirrored && (!known || method != "GET" && method != "HEAD") {
			t.Errorf("%s %s?%s leads to %+v", method, path, query, got)
		}
	})
}
