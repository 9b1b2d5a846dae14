package credential_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/credential"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	c := credential.Credential{Username: "bob", Secret: "s3cret", IdentityToken: "t0ken"}
	marshalled, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("login", "credential", c, "secret", c.Secret)
	slog.New(slog.NewTextHandler(&log, nil)).Info("login", "credential", c, "secret", c.Secret)
	texts := []string{string(marshalled), log.String(), c.Secret.String(), fmt.Sprint(c.Secret, &c)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		texts = append(texts, fmt.Sprintf(verb, c.Secret), fmt.Sprintf(verb, c), fmt.Sprintf(verb, []any{c, &c}))
	}
	for _, text := range texts {
		for _, secret := range []string{"s3cret", "t0ken", fmt.Sprintf("%x", "s3cret")} {
			if strings.Contains(text, secret) {
				t.Errorf("%q holds %q", text, secret)
			}
		}
		if !strings.Contains(text, "***") {
			t.Errorf("%q does not show that there is a secret", text)
		}
	}
	if c.Secret.Reveal() != "s3cret" || fmt.Sprint(credential.Secret("")) != "" {
		t.Error("Reveal, or an empty secret, is not itself")
	}
}

// write writes a file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config is a Docker configuration with a login "KEY-user" for each key.
func config(keys ...string) string {
	var parts []string
	for _, k := range keys {
		auth := base64.StdEncoding.EncodeToString([]byte(k[strings.LastIndexByte(k, '/')+1:] + "-user:pass:word"))
		parts = append(parts, fmt.Sprintf("%q:{\"auth\":%q}", k, auth))
	}
	return `{"auths":{` + strings.Join(parts, ",") + `},"unknown":{"kept":1}}`
}

// wantUser fails unless the keychain gives this user; "" is none.
func wantUser(t *testing.T, k credential.Keychain, host, user string) {
	t.Helper()
	c, ok, err := k.Lookup(t.Context(), host)
	if err != nil || ok != (user != "") || c.Username != user {
		t.Errorf("%s gives %q (%v): %v; want %q", host, c.Username, ok, err, user)
	}
}

func TestDockerConfigIsKeyedByHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "config.json", config("quay.io", "localhost:5000", "https://old.example"))
	k := credential.Docker(dir, 0)
	wantUser(t, k, "quay.io", "quay.io-user")
	wantUser(t, k, "quay.io/team/app", "quay.io-user")
	wantUser(t, k, "localhost:5000", "localhost") // a user name ends at its colon
	wantUser(t, k, "localhost", "")
	wantUser(t, k, "old.example", "old.example-user")
	wantUser(t, k, "evil.example", "")
	c, _, err := k.Lookup(t.Context(), "quay.io")
	if err != nil || c.Secret.Reveal() != "pass:word" {
		t.Errorf("the password is cut at its colon: %v", err)
	}
	wantUser(t, credential.Docker(t.TempDir(), 0), "quay.io", "")
	wantUser(t, credential.Docker("", 0), "quay.io", "")
}

func TestDockerHubHasAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"https://index.docker.io/v1/", "docker.io", "index.docker.io"} {
		k := credential.Environment(fmt.Sprintf(`{"auths":{%q:{"auth":"Ym9iOnB3"}}}`, key))
		for _, host := range []string{"docker.io", "index.docker.io", "registry-1.docker.io", "docker.io/library/busybox"} {
			wantUser(t, k, host, "bob")
		}
	}
}

func TestMostSpecificNamespaceWins(t *testing.T) {
	t.Parallel()
	k := credential.Environment(config("quay.io", "quay.io/team", "quay.io/team/app"))
	wantUser(t, k, "quay.io/team/app", "app-user")
	wantUser(t, k, "quay.io/team/other", "team-user")
	wantUser(t, k, "quay.io/teams/app", "quay.io-user")
}

func TestTokensAreRead(t *testing.T) {
	t.Parallel()
	k := credential.Environment(`{"auths":{"a.example":{"identitytoken":"i"},"b.example":{"registrytoken":"r"},"c.example":{}}}`)
	if c, ok, err := k.Lookup(t.Context(), "a.example"); c.IdentityToken != "i" || !ok || err != nil {
		t.Errorf("identity token: %v", err)
	}
	if c, ok, err := k.Lookup(t.Context(), "b.example"); c.RegistryToken != "r" || !ok || err != nil {
		t.Errorf("registry token: %v", err)
	}
	wantUser(t, k, "c.example", "")
}

func TestDamagedConfigIsAnErrorWithoutItsText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "config.json", `{"auths":{"a":{"auth":"s3cret!!"}}}`)
	for _, k := range []credential.Keychain{credential.Docker(dir, 0), credential.Environment(`{"auths":s3cret}`)} {
		_, _, err := k.Lookup(t.Context(), "a")
		if !errors.Is(err, credential.ErrStore) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestFileForms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, user, password string }{
		"pair":           {"bob:pa:ss \n# note\n", "bob", "pa:ss "},
		"pair, CRLF":     {"bob:pass\r\n", "bob", "pass"},
		"JSON":           {`{"username":"bob","password":"pass"}`, "bob", "pass"},
		"Docker config":  {`{"auths":{"quay.io":{"auth":"Ym9iOnBhc3M="}}}`, "bob", "pass"},
		"for other host": {`{"auths":{"x.io":{"auth":"Ym9iOnBhc3M="}}}`, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := credential.File(write(t, t.TempDir(), "creds", test.text))
			c, ok, err := k.Lookup(t.Context(), "quay.io")
			if err != nil || ok != (test.user != "") || c.Username != test.user || c.Secret.Reveal() != test.password {
				t.Errorf("got %q, %v: %v", c.Username, ok, err)
			}
		})
	}
	for _, bad := range []string{"", "s3cret", ":s3cret", "bob:", "{s3cret", `{"username":"s3cret"}`} {
		_, _, err := credential.File(write(t, t.TempDir(), "creds", bad)).Lookup(t.Context(), "quay.io")
		if err == nil || errors.Is(err, credential.ErrStore) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
	if _, _, err := credential.File(filepath.Join(t.TempDir(), "none")).Lookup(t.Context(), "quay.io"); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestDefaultOrder(t *testing.T) {
	t.Parallel()
	home, runtime, units := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, home, ".docker/config.json", config("a.io", "b.io/docker"))
	write(t, runtime, "containers/auth.json", config("a.io", "b.io", "c.io"))
	write(t, home, ".config/containers/auth.json", config("c.io", "d.io"))
	write(t, units, "config.json", config("d.io", "e.io"))
	env := map[string]string{
		"HOME": home, "XDG_RUNTIME_DIR": runtime, "CREDENTIALS_DIRECTORY": units,
		"DOCKER_AUTH_CONFIG": `{"auths":{"a.io":{"auth":"ZW52OnB3"}}}`,
	}
	k := credential.Default(func(key string) string { return env[key] })
	for host, user := range map[string]string{
		"a.io": "env", "b.io/docker": "docker-user", "b.io": "b.io-user", "c.io": "c.io-user", "d.io": "d.io-user", "e.io": "e.io-user", "f.io": "",
	} {
		wantUser(t, k, host, user)
	}
	only := write(t, home, "auth.json", config("g.io"))
	one := credential.Containers(func(key string) string { return map[string]string{"REGISTRY_AUTH_FILE": only, "HOME": home}[key] })
	wantUser(t, one, "g.io", "g.io-user")
	wantUser(t, one, "d.io", "")
	elsewhere := credential.Default(func(key string) string { return map[string]string{"DOCKER_CONFIG": units, "HOME": home}[key] })
	wantUser(t, elsewhere, "e.io", "e.io-user")
	wantUser(t, elsewhere, "a.io", "")
}

// failing is a keychain that fails.
type failing struct{ err error }

func (f failing) Lookup(context.Context, string) (credential.Credential, bool, error) {
	return credential.Credential{}, false, f.err
}

func TestChain(t *testing.T) {
	t.Parallel()
	broken := failing{fmt.Errorf("helper: %w", credential.ErrStore)}
	bob := credential.Static("bob", "pw")
	wantUser(t, credential.Chain(nil, credential.Static("", "pw"), broken, bob, credential.Static("eve", "pw")), "h", "bob")
	if _, _, err := credential.Chain(broken, credential.Static("", "")).Lookup(t.Context(), "h"); !errors.Is(err, credential.ErrStore) {
		t.Errorf("a broken store is forgotten: %v", err)
	}
	if _, _, err := credential.Chain(failing{errors.New("no such file")}, bob).Lookup(t.Context(), "h"); err == nil {
		t.Error("a file that the user named and that fails is passed over")
	}
}

func TestHelpers(t *testing.T) {
	bin := t.TempDir()
	helper := func(name, script string) {
		path := write(t, bin, "docker-credential-"+name, "#!/bin/sh\nread key\n"+script+"\n")
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	helper("good", `printf '{"ServerURL":"%s","Username":"user-of-%s","Secret":"pw"}' "$key" "$key"`)
	helper("token", `echo '{"Username":"<token>","Secret":"refresh"}'`)
	helper("none", `echo "credentials not found in native keychain"; exit 1`)
	helper("locked", `echo "the key ring is locked"; exit 1`)
	helper("leaky", `echo '{"Secret":"s3cret"}'; exit 1`)
	helper("slow", `sleep 30`)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	dir := t.TempDir()
	write(t, dir, "config.json", `{"credsStore":"none","auths":{"in.auths":{"auth":"Ym9iOnB3"},"locked.io":{}},"credHelpers":{
		"good.io":"good","https://index.docker.io/v1/":"good","token.io":"token","locked.io":"locked","leaky.io":"leaky","slow.io":"slow","evil.io":"../../bin/x"}}`)
	k := credential.Docker(dir, 200*time.Millisecond)
	wantUser(t, k, "good.io", "user-of-good.io")
	wantUser(t, k, "good.io/team/app", "user-of-good.io")
	wantUser(t, k, "docker.io", "user-of-https://index.docker.io/v1/")
	wantUser(t, k, "none.io", "")
	wantUser(t, k, "in.auths", "bob")
	if c, ok, err := k.Lookup(t.Context(), "token.io"); !ok || err != nil || c.IdentityToken != "refresh" || c.Secret != "" {
		t.Errorf("an identity token is %+v: %v", c, err)
	}
	for host, text := range map[string]string{"locked.io": "the key ring is locked", "slow.io": "no answer in 200ms", "leaky.io": "docker-credential-leaky", "evil.io": "no slash"} {
		_, _, err := k.Lookup(t.Context(), host)
		if !errors.Is(err, credential.ErrStore) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error %v lacks %q", host, err, text)
		}
	}
}

func ExampleChain() {
	k := credential.Chain(
		credential.Static(os.Getenv("NO_SUCH_USER"), ""),
		credential.Environment(`{"auths":{"quay.io":{"auth":"Ym9iOnMzY3JldA=="}}}`),
	)
	c, ok, err := k.Lookup(context.Background(), "quay.io")
	fmt.Println(c.Username, c.Secret, ok, err)
	// Output: bob *** true <nil>
}

func TestOnlyKnowsNothingOfOtherHosts(t *testing.T) {
	t.Parallel()
	k := credential.Only(credential.Static("bob", "s3cret"), "a.example", "docker.io")
	for host, want := range map[string]bool{
		"a.example": true, "A.example": true, "a.example/team/app": true, "docker.io/library/busybox": true,
		"a.example:5000": false, "b.example": false, "a.example.evil": false, "": false,
	} {
		c, ok, err := k.Lookup(t.Context(), host)
		if ok != want || err != nil || (c.Username == "bob") != want {
			t.Errorf("%q: %s, %t, %v", host, c.Username, ok, err)
		}
	}
}
