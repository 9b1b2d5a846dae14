package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/sidecar/proxy"
)

// environment is a getenv with these variables only.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// proxyConfig is what a file of settings comes to.
func proxyConfig(t *testing.T, text string, getenv func(string) string) (proxy.Config, error) {
	t.Helper()
	s, err := readSettings(written(t, text), true)
	if err != nil {
		return proxy.Config{}, err
	}
	if _, err := s.Proxy.idle(); err != nil {
		return proxy.Config{}, err
	}
	s.Proxy.defaults(getenv)
	return s.Proxy.config(getenv)
}

// Settings of the proxy that the documents show are settings that there are.
func TestProxySettingsOfTheDocumentsAreRead(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)```toml[^\n]*\n(\\[proxy\\].*?)```")
	for _, page := range []string{"../contrib/docs/reference.md", "../contrib/docs/howto/proxy.md"} {
		text, err := os.ReadFile(page)
		must(t, err)
		found := blocks.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Fatalf("%s has no block of [proxy]", page)
		}
		for _, block := range found {
			if _, err := proxyConfig(t, block[1], environment()); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, block[1])
			}
		}
	}
}

func TestProxyWithoutSettings(t *testing.T) {
	t.Parallel()
	c, err := proxyConfig(t, "", environment("STATE_DIRECTORY", "/state:/other", "CACHE_DIRECTORY", "/cache"))
	must(t, err)
	if c.Store.Dir != "/state/store" || c.TempDir != "/cache" || c.Access.Secret != "/state/secret" || !c.Access.NewSecret || c.Downstream.Host != "" || len(c.Upstreams) != 0 {
		t.Errorf("in a unit: %+v", c)
	}
	if c, err = proxyConfig(t, "", environment()); err != nil || c.Store.Dir != defaultStore || c.Access.Secret != "" {
		t.Errorf("by hand: %+v, %v", c, err)
	}
	if c, err = proxyConfig(t, "[proxy.access]\nsecret = \"none\"", environment("STATE_DIRECTORY", "/state")); err != nil || c.Access.Secret != "" {
		t.Errorf("without a secret: %+v, %v", c, err)
	}
}

func TestProxySettingsAreTaken(t *testing.T) {
	t.Parallel()
	c, err := proxyConfig(t, `
[proxy]
downstream = "jo:to:k@n@registry.example:5000/team"
default-upstream = "docker.io"
filters = ["normalize-timestamps"]
concurrency = 7
ttl = "10m"
stale-if-error = "0s"
[proxy.store]
dir = "/srv/store"
high = "50GB"
age = "30d"
[proxy.access]
users = "users"
peers = ["0", "1000"]
[[proxy.rule]]
match = "team/**"
digest = "refuse"
[[proxy.upstream]]
host = "docker.io"
prefix = "hub"
rewrite = "library"
ttl = "1h"
[[proxy.upstream]]
host = "registry.internal:5000"
private = true
insecure = true
`, environment("CREDENTIALS_DIRECTORY", "/creds", "OCCYSTRAP_UPSTREAM_USERNAME", "up", "OCCYSTRAP_UPSTREAM_PASSWORD", "secret-up"))
	must(t, err)
	d := c.Downstream
	if d.Host != "registry.example:5000" || d.Prefix != "team" || c.Upstream != "docker.io" || len(c.Upstreams) != 2 || c.Concurrency != 7 {
		t.Errorf("%+v", c)
	}
	if c.Store.High != 50<<30 || c.Store.Age != 30*24*time.Hour || c.Fresh.TTL != 10*time.Minute || c.Fresh.StaleError >= 0 || c.Fresh.StaleWhile != 0 {
		t.Errorf("%+v, %+v", c.Store, c.Fresh)
	}
	if c.Access.Users != "/creds/users" || len(c.Access.Peers) != 2 || c.Rules[0].Digest != "refuse" || c.All.Filters[0] != "normalize-timestamps" {
		t.Errorf("%+v", c)
	}
	hub, internal := c.Upstreams[0], c.Upstreams[1]
	if hub.Local != "hub" || hub.Rewrite != "library" || hub.Fresh.TTL != time.Hour || hub.Private || !internal.Private || !internal.Insecure {
		t.Errorf("%+v", c.Upstreams)
	}
	for host, want := range map[string]credential.Credential{
		"registry.example:5000": {Username: "jo", Secret: "to:k@n"}, "elsewhere.example": {},
	} {
		if got, _, err := d.Keys.Lookup(t.Context(), host); err != nil || got != want {
			t.Errorf("downstream's login for %s is %v, %v", host, got, err)
		}
	}
	if got, _, err := hub.Keys.Lookup(t.Context(), "docker.io"); err != nil || got.Username != "up" || got.Secret.Reveal() != "secret-up" {
		t.Errorf("upstream's login is %v, %v", got, err)
	}
	if got, ok, _ := internal.Keys.Lookup(t.Context(), "registry.internal:5000"); ok {
		t.Errorf("another upstream gets the login of the default one: %v", got)
	}
	if said := fmt.Sprintf("%v %+v", c, c); strings.Contains(said, "to:k@n") || strings.Contains(said, "secret-up") {
		t.Errorf("the settings print a secret: %s", said)
	}
}

// A mistake is told, with its line where the file has it.
func TestMistakesInProxySettingsAreTold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[proxy]\nlisten = [\"x\"]\nfilter = []":                     "line 3: there is no setting proxy.filter (did you mean proxy.filters?)",
		"[proxy]\nconcurrency = \"4\"":                               "line 2: proxy.concurrency takes a whole number",
		"[proxy]\nupstream = \"docker.io\"":                          "line 2: proxy.upstream takes tables, each below a line [[proxy.upstream]]",
		"[proxy]\nlisten = \"127.0.0.1:1\"":                          "line 2: proxy.listen takes a list",
		"[proxy]\nttl = 5":                                           "line 2: proxy.ttl takes a text in quotes",
		"[proxy]\noffline = \"yes\"":                                 "line 2: proxy.offline takes true or false",
		"[proxy]\nstore = \"/srv\"":                                  "line 2: proxy.store takes a table, below the line [proxy.store]",
		"[[proxy.upstream]]\nhst = \"ghcr.io\"":                      "there is no setting proxy.upstream.hst (did you mean proxy.upstream.host?)",
		"[proxy]\ncompression = \"lz4\"":                             `compression is "lz4"; it takes gzip or zstd`,
		"[proxy]\nrecompress = \"Auto\"":                             `recompress is "Auto"; it takes auto, transcode or canonical`,
		"[proxy]\nconcurrency = -1":                                  `concurrency is "-1"; it takes a whole number`,
		"[proxy]\nparallel = -1":                                     `parallel is "-1"; it takes a whole number`,
		"[proxy.store]\nlow = \"1GB\"":                               "beside store.high only",
		"[proxy.store]\nhigh = \"1GB\"\nlow = \"2GB\"":               "no more bytes than store.high",
		"[[proxy.upstream]]\nhost = \"ghcr.io\"\nrewrite = \"team\"": "as ghcr.io/team",
		"[proxy]\nidle = \"soon\"":                                   `idle is "soon"`,
		"[proxy]\nttl = \"soon\"":                                    `ttl is "soon"`,
		"[proxy.store]\nhigh = \"much\"":                             `store.high is "much"`,
		"[proxy.store]\nage = \"30\"":                                `store.age is "30"`,
		"[proxy.store]\ndir = \"relative\"":                          `store.dir is "relative"`,
		"[proxy.access]\nusers = \"a/b\"":                            `access.users is "a/b"`,
		"[proxy.access]\npeers = [\"no such user\"]":                 `[proxy.access] peers: "no such user" is no user of this machine`,
		"[proxy]\ndownstream = \"https://ghcr.io\"":                  "leave out https://",
		"[proxy]\ndownstream = \"ghcr.io/UPPER\"":                    "is not HOST or HOST/PREFIX",
		"[proxy]\ndownstream = \"secret-token@ghcr.io\"":             "the login before @ghcr.io is not USER:TOKEN",
		"[[proxy.upstream]]\nhost = \"\"":                            "[[proxy.upstream]] number 1",
		"[[proxy.upstream]]\nhost = \"a.example\"\nttl = \"x\"":      `[[proxy.upstream]] a.example: ttl is "x"`,
		"[proxy]\ndefault-upstream = \"ghcr.io/team\"\n[[proxy.upstream]]\nhost = \"ghcr.io\"\n": "without the path team",
	} {
		_, err := proxyConfig(t, text, environment())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-token") || strings.Contains(err.Error(), "[proxy] [") {
			t.Errorf("%q: error is %v, want %q", text, err, want)
		}
	}
}

func TestProxyCommandLine(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("of-this-installation\n"), 0o600))
	config := written(t, fmt.Sprintf("[proxy.access]\nsecret = %q\n", secret))
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"proxy now":                           {2, "takes no argument"},
		"proxy --no":                          {2, "there is no option -no\n\n\"occystrapd proxy --help\" has the options.\n"},
		"proxy --version":                     {0, "occystrapd v1.2.3"},
		"proxy --help":                        {0, "Usage: occystrapd proxy"},
		"proxy --config /nowhere":             {1, "/nowhere"},
		"proxy secret --config " + config:     {0, "of-this-installation"},
		"proxy --listen 127.0.0.1:x":          {1, "has no port"},
		"proxy --listen example.com:5050":     {1, "not an address to listen at"},
		"proxy --config -/nowhere --listen x": {1, "not an address to listen at"},
	} {
		var out strings.Builder
		if code := Main("v1.2.3", strings.Fields(args), &out, &out); code != want.code || !strings.Contains(out.String(), want.text) {
			t.Errorf("%q ends with %d and\n%s", args, code, out.String())
		}
	}
}

func TestListenAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"127.0.0.1:5051": "127.0.0.1:5051", "127.0.0.1": "127.0.0.1:5050", "[::1]:80": "[::1]:80", "::1": "[::1]:5050", "localhost:1": "127.0.0.1:1", "0.0.0.0:0": "0.0.0.0:0",
		":5050": "", "127.0.0.1:99999": "", "127.0.0.1:http": "", "example.com:1": "", "127.0.0.1:": "", "127.0.0.1:-1": "",
	} {
		if got, err := ListenAddress(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// What takes a new start is refused when the settings are read again: else who changed it
// would think that it counts.
func TestWhatTakesANewStartIsRefused(t *testing.T) {
	t.Parallel()
	first := ProxyRun{Listen: []string{"127.0.0.1:5050"}, Idle: time.Minute}
	for name, c := range map[string]struct {
		activated bool
		again     ProxyRun
		want      string
	}{
		"nothing of it":              {false, ProxyRun{Listen: first.Listen, Idle: time.Minute}, ""},
		"another address":            {false, ProxyRun{Listen: []string{"127.0.0.1:5051"}, Idle: time.Minute}, "the addresses in listen"},
		"an address beside systemd":  {true, ProxyRun{Listen: []string{"127.0.0.1:5051"}, Idle: time.Minute}, ""},
		"another time":               {true, ProxyRun{Listen: first.Listen, Idle: time.Hour}, "idle does not change"},
		"a time that does not count": {false, ProxyRun{Listen: first.Listen, Idle: time.Hour}, ""},
	} {
		r := first
		r.activated = c.activated
		r.Reload = func() (ProxyRun, error) { return c.again, nil }
		if _, err := r.reread(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
