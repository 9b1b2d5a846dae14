package proxy

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// The variables with the logins of a proxy; those of upstream are for the default
// one.
const (
	DownstreamUser     = "OCCYSTRAP_USERNAME"
	DownstreamPassword = "OCCYSTRAP_PASSWORD" //nolint:gosec // a name
	UpstreamUser       = "OCCYSTRAP_UPSTREAM_USERNAME"
	UpstreamPassword   = "OCCYSTRAP_UPSTREAM_PASSWORD" //nolint:gosec // a name
)

// Keys find logins.
type Keys struct {
	// Getenv reads the environment, and so finds the stores that every user of
	// containers has (credential.Default).
	Getenv func(string) string
	// Username and Password are downstream's, in place of the environment's.
	Username string
	Password credential.Secret
}

// Downstream are the keys of downstream, which a file may hold.
func (k Keys) Downstream(file string) credential.Keychain {
	if file != "" {
		return credential.File(file)
	}
	user, password := k.Username, k.Password
	if user == "" {
		user, password = k.Getenv(DownstreamUser), credential.Secret(k.Getenv(DownstreamPassword))
	}
	return credential.Chain(credential.Static(user, password), credential.Default(k.Getenv))
}

// Upstream are the keys of an upstream, which a file may hold.
func (k Keys) Upstream(file string) credential.Keychain {
	if file != "" {
		return credential.File(file)
	}
	return credential.Default(k.Getenv)
}

// Format prints where it is, and nothing of its logins.
func (r Remote) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, strings.TrimSuffix(r.Host+"/"+r.Prefix, "/"))
}

// ParseRemote reads [USER:TOKEN@]HOST[:PORT][/PREFIX]. No error repeats a token.
// The login in it, if there is one, counts before keys.
func ParseRemote(s string, keys credential.Keychain) (Remote, error) {
	r := Remote{Keys: keys}
	login, rest, has := cutLast(s, "@")
	if !has {
		rest = s
	}
	for _, part := range []string{rest, login} {
		if scheme, _, is := strings.Cut(part, "://"); is {
			return r, leaveOut(scheme)
		}
	}
	host, prefix, _ := strings.Cut(rest, "/")
	// The reference's grammar is that of the place, too.
	ref, err := remote.ParseReference(host, strings.Trim(prefix, "/")+"/x")
	if prefix == "" {
		ref, err = remote.ParseReference(host, "x/x")
	}
	if err != nil {
		return r, fmt.Errorf("%q is not HOST or HOST/PREFIX in lower case, as ghcr.io/myorg", rest)
	}
	r.Host, r.Prefix = ref.Host, strings.Trim(prefix, "/")
	if has {
		user, token, ok := strings.Cut(login, ":")
		if !ok || user == "" || token == "" {
			return r, fmt.Errorf("the login before @%s is not USER:TOKEN", host)
		}
		r.Keys = credential.Chain(credential.Only(credential.Static(user, credential.Secret(token)), r.Host), keys)
	}
	return r, nil
}

// leaveOut is the error for a registry with a scheme before it. What is no scheme may be a
// login.
func leaveOut(scheme string) error {
	switch scheme {
	case "http":
		return errors.New("leave out http://, as in ghcr.io/myorg; HTTP is asked for by insecure")
	case "https", "registry", "docker", "oci":
		return fmt.Errorf("leave out %s://, as in ghcr.io/myorg", scheme)
	}
	return errors.New("leave out what is before ://, as in ghcr.io/myorg")
}

// cutLast cuts at the last separator: tokens may have one.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// AddDefault makes [USER:TOKEN@]HOST[/PREFIX] the upstream for names without a host.
// One of Upstreams with the same host gets its login; else it is added.
func (c *Config) AddDefault(s string, k Keys) error {
	r, err := ParseRemote(s, nil)
	if err != nil {
		return err
	}
	embedded := r.Keys
	own := credential.Only(credential.Static(k.Getenv(UpstreamUser), credential.Secret(k.Getenv(UpstreamPassword))), r.Host)
	c.Upstream = r.Host
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		if u.Host != r.Host {
			continue
		}
		if r.Prefix != "" && u.Prefix != r.Prefix {
			return fmt.Errorf("%s is among the upstreams already, without the path %s; give it there", r.Host, r.Prefix)
		}
		u.Keys = credential.Chain(embedded, own, u.Keys)
		return nil
	}
	r.Keys = credential.Chain(embedded, own, k.Upstream(""))
	c.Upstreams = append(c.Upstreams, Upstream{Remote: r})
	return nil
}
