package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Kind says who answers for a name.
type Kind int

const (
	// Base is /v2/ itself.
	Base Kind = iota
	// Pushed is a name that can be pushed here.
	Pushed
	// Mirrored is a name of an upstream; it can only be read.
	Mirrored
)

// String is a word for logs and metrics.
func (k Kind) String() string { return [...]string{"base", "pushed", "mirrored"}[k] }

// A Target is what a request is about.
type Target struct {
	Kind Kind
	// Upstream is the registry that is mirrored, as the settings call it; "" where
	// Kind is not Mirrored.
	Upstream string
	// Path is the request's, with the repository as the target's backend has it: without the
	// host or the prefix of the client's path, and rewritten.
	Path registry.Path
	// As is what the client calls it.
	As registry.As
	// Else is where a name that was not pushed is read instead.
	Else Place
}

// A Place is a repository of an upstream; the zero value is none.
type Place struct{ Upstream, Repository string }

// A Prefix maps names to an upstream: PREFIX/name is REWRITE/name there.
type Prefix struct {
	// Prefix is one or more parts of a name, and Rewrite what stands for them; it may be "".
	Prefix, Upstream, Rewrite string
}

// Config is what a Table is made of.
type Config struct {
	// Upstreams are the registries that are mirrored; those of Prefixes and
	// Default belong to them.
	Upstreams []string
	Prefixes  []Prefix
	// Default is the upstream for names that were not pushed and have no host; ""
	// is none. DefaultPrefix is put before them there.
	Default, DefaultPrefix string
}

// A Table finds targets. It does not change, and many may use it at once.
type Table struct {
	upstreams map[string]bool
	prefixes  []Prefix // the longest first
	c         Config
}

// New makes a Table. Errors are sentences for who wrote the settings.
func New(c Config) (*Table, error) {
	t := &Table{upstreams: map[string]bool{}, c: c}
	for _, name := range c.Upstreams {
		if _, err := t.add(name); err != nil {
			return nil, err
		}
	}
	for _, p := range c.Prefixes {
		host, err := t.add(p.Upstream)
		if err == nil {
			err = checkPrefix(p)
		}
		if err != nil {
			return nil, err
		}
		p.Upstream = host
		if slices.ContainsFunc(t.prefixes, func(o Prefix) bool { return o.Prefix == p.Prefix }) {
			return nil, fmt.Errorf("the prefix %q is there twice; each leads to one upstream", p.Prefix)
		}
		t.prefixes = append(t.prefixes, p)
	}
	slices.SortFunc(t.prefixes, func(a, b Prefix) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
	if c.Default == "" {
		return t, nil
	}
	if c.DefaultPrefix != "" && !registry.ValidRepository(c.DefaultPrefix) {
		return nil, fmt.Errorf("the upstream's prefix is %q; it takes parts of a name, as in ghcr.io/team", c.DefaultPrefix)
	}
	var err error
	t.c.Default, err = t.add(c.Default)
	return t, err
}

func (t *Table) add(name string) (string, error) {
	host, err := Host(name)
	if err != nil {
		return "", fmt.Errorf("an upstream: %w", err)
	}
	t.upstreams[host] = true
	return host, nil
}

func checkPrefix(p Prefix) error {
	first, _, _ := strings.Cut(p.Prefix, "/")
	switch {
	case !registry.ValidRepository(p.Prefix):
		return fmt.Errorf("the prefix of %s is %q; it takes parts of a name, like hub", p.Upstream, p.Prefix)
	case likeHost(first):
		return fmt.Errorf("the prefix %q begins like a registry's name; those lead to that registry without a prefix", p.Prefix)
	case p.Rewrite != "" && !registry.ValidRepository(p.Rewrite):
		return fmt.Errorf("rewrite of the prefix %q is %q; it takes parts of a name, or nothing", p.Prefix, p.Rewrite)
	}
	return nil
}

// Target reads a request. Errors are *registry.Error. What cannot be taken two ways by two
// readers is refused: a second ns, a query with broken parts, encoded slashes.
func (t *Table) Target(method string, u *url.URL) (Target, error) {
	p, err := registry.ParsePath(u)
	if err != nil {
		return Target{}, err
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Target{}, badName("the query of the address is broken")
	}
	target := Target{Path: p, As: registry.As{Name: p.Repository}}
	upstream, there, err := t.upstream(q, p.Repository)
	there = official(upstream, there)
	switch {
	case err != nil:
		return Target{}, err
	case p.Endpoint == registry.EndBase:
		return target, nil
	case upstream == "":
		target.Kind, target.Else = Pushed, t.Else(p.Repository)
		return target, nil
	case method != http.MethodGet && method != http.MethodHead:
		return Target{}, &registry.Error{
			Code: registry.Denied, Message: upstream + " is mirrored here, which is for reading; push to a name without a registry's host, or straight to " + upstream,
		}
	case !t.upstreams[upstream]:
		return Target{}, &registry.Error{Code: registry.NameUnknown, Message: upstream + " is no upstream of this proxy; add it to the settings to have it mirrored"}
	case !registry.ValidRepository(there):
		return Target{}, &registry.Error{Code: registry.NameUnknown, Message: "there is no such repository in " + upstream}
	}
	if q.Has("ns") {
		target.As.Query = url.Values{"ns": q["ns"]}
	}
	target.Kind, target.Upstream, target.Path.Repository = Mirrored, upstream, there
	return target, nil
}

// upstream is the registry that a name leads to and the repository there; "" for
// a name of this registry.
func (t *Table) upstream(q url.Values, repository string) (host, there string, err error) {
	if q.Has("ns") {
		if len(q["ns"]) > 1 {
			return "", "", badName("ns is there twice; it names one registry")
		}
		host, err := Host(q.Get("ns"))
		if err != nil {
			return "", "", badName("ns: " + err.Error())
		}
		return host, repository, nil
	}
	first, rest, more := strings.Cut(repository, "/")
	if more && likeHost(first) {
		host, err := Host(first)
		if err != nil {
			return "", "", badName(err.Error())
		}
		return host, rest, nil
	}
	for _, p := range t.prefixes {
		if rest, ok := strings.CutPrefix(repository+"/", p.Prefix+"/"); ok {
			return p.Upstream, strings.Trim(p.Rewrite+"/"+rest, "/"), nil
		}
	}
	// A host without a dot, as of a private network: its images are kept under its name
	// too, which no push may fill.
	if more && t.upstreams[first] {
		return first, rest, nil
	}
	return "", "", nil
}

// Else is where a name that can be pushed is read when nobody has pushed it: at
// the default upstream, if there is one.
func (t *Table) Else(repository string) Place {
	if t.c.Default == "" {
		return Place{}
	}
	return Place{t.c.Default, official(t.c.Default, strings.TrimPrefix(t.c.DefaultPrefix+"/"+repository, "/"))}
}

// Upstreams are the registries that are mirrored, by their names here, in order.
func (t *Table) Upstreams() []string {
	var names []string
	for name := range t.upstreams {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func badName(message string) error {
	return &registry.Error{Code: registry.NameInvalid, Message: message}
}

// asError is an error as it is answered.
func asError(err error) *registry.Error {
	var e *registry.Error
	if errors.As(err, &e) {
		return e
	}
	return &registry.Error{Code: registry.Denied, Message: "this was refused"}
}
