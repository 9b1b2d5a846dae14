package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
)

// Docker is a keychain of the config.json in the Docker CLI's folder: of its
// helper for the host, or else of its store, or else of its auths. A helper is
// killed after helperTime; 0 stands for 30 seconds. Dir "" has no logins, and
// so has a folder without the file.
func Docker(dir string, helperTime time.Duration) Keychain {
	if dir == "" {
		return static{}
	}
	return &configFile{path: filepath.Join(dir, "config.json"), optional: true, helperTime: helperTime}
}

// Environment is a keychain of the text of $DOCKER_AUTH_CONFIG: a config.json
// of which only auths count. An empty text has no logins.
func Environment(text string) Keychain {
	if text == "" {
		return static{}
	}
	return environment{[]byte(text)}
}

type environment struct{ text []byte }

func (e environment) Lookup(_ context.Context, host string) (Credential, bool, error) {
	cf, err := parseConfig(e.text)
	if err != nil {
		return Credential{}, false, fmt.Errorf("read DOCKER_AUTH_CONFIG: %w: %w", ErrStore, err)
	}
	c, ok := auths(cf, host)
	return c, ok, nil
}

// A configFile is a file in the format of Docker's config.json. It is read at
// every lookup, so that a login made meanwhile counts.
type configFile struct {
	path       string
	optional   bool // a missing file has no logins
	helperTime time.Duration
}

func (f *configFile) Lookup(ctx context.Context, host string) (Credential, bool, error) {
	cf, err := f.read()
	if err != nil || cf == nil {
		return Credential{}, false, err
	}
	var failed error
	if name := helperFor(cf, host); name != "" {
		c, ok, err := runHelper(ctx, name, storeKey(host), f.helperTime)
		if err == nil && ok {
			return c, true, nil
		}
		failed = err
	}
	if c, ok := auths(cf, host); ok {
		return c, true, nil
	}
	return Credential{}, false, failed
}

func (f *configFile) read() (*configfile.ConfigFile, error) {
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) && f.optional {
		return nil, nil //nolint:nilnil // no file is no logins, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	cf, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", f.path, ErrStore, err)
	}
	return cf, nil
}

// errConfig stands for all that can be wrong in a config: the decoders' own
// errors may quote from it.
var errConfig = errors.New("not in the format of Docker's config.json")

func parseConfig(text []byte) (*configfile.ConfigFile, error) {
	cf, err := config.LoadFromReader(bytes.NewReader(text))
	if err != nil {
		return nil, errConfig
	}
	return cf, nil
}

// helperFor is the name of the helper that a config gives for a host.
func helperFor(cf *configfile.ConfigFile, host string) string {
	for _, key := range keys(host) {
		if name, ok := cf.CredentialHelpers[key]; ok {
			return name
		}
	}
	return cf.CredentialsStore
}

// auths finds a host's login among those written in the config itself.
func auths(cf *configfile.ConfigFile, host string) (Credential, bool) {
	for _, key := range keys(host) {
		a, ok := cf.AuthConfigs[key]
		c := Credential{
			Username: a.Username, Secret: Secret(a.Password),
			IdentityToken: Secret(a.IdentityToken), RegistryToken: Secret(a.RegistryToken),
		}
		if ok && (a.Username != "" && a.Password != "" || c.IdentityToken != "" || c.RegistryToken != "") {
			return c, true
		}
	}
	return Credential{}, false
}

// hubKey is what Docker files the login of Docker Hub under.
const hubKey = "https://index.docker.io/v1/"

// storeKey is what a helper knows the host by.
func storeKey(host string) string {
	host, _, _ = strings.Cut(host, "/")
	if isHub(host) {
		return hubKey
	}
	return host
}

func isHub(host string) bool {
	return host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io"
}

// hostNames are the names that a host goes by.
func hostNames(host string) []string {
	if isHub(host) {
		return []string{"docker.io", "index.docker.io", "registry-1.docker.io"}
	}
	return []string{host}
}

// keys are the keys that a host's login may be filed under, the best first:
// containers' auth.json knows repositories and namespaces, and old tools wrote
// whole URLs.
func keys(resource string) []string {
	host, repository, _ := strings.Cut(resource, "/")
	names := hostNames(host)
	var out []string
	for repository != "" {
		for _, n := range names {
			out = append(out, n+"/"+repository)
		}
		repository = repository[:max(0, strings.LastIndexByte(repository, '/'))]
	}
	if isHub(host) {
		out = append(out, hubKey, "index.docker.io/v1/", "https://index.docker.io/v1", "https://docker.io")
	}
	for _, n := range names {
		out = append(out, n, "https://"+n, "https://"+n+"/", "https://"+n+"/v1/", "https://"+n+"/v2/", n+"/v1/", n+"/v2/",
			"http://"+n, "http://"+n+"/v1/", "http://"+n+"/v2/")
	}
	return out
}
