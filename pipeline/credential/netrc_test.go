package credential_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/credential"
)

func TestNetrcHasALoginForAMachine(t *testing.T) {
	t.Parallel()
	name := write(t, t.TempDir(), "netrc", `# a comment with machine c.io login eve password x
machine a.io login bob password pw
machine localhost
  login ann
  account none
  password "p w\" \\ # "   # not a part of it
macdef init
machine macro.io login eve password x

machine b.io password only
machine empty.io login "" password ""
machine registry-1.docker.io user hub password pw
machine a.io login second password pw
machine esc.io login a\ b password x\#y
default login everybody password pw
machine last.io login z password end`)
	k := credential.Netrc(func(key string) string { return map[string]string{"NETRC": name, "HOME": "/nowhere"}[key] })
	for host, user := range map[string]string{
		"a.io": "bob", "a.io/team/app": "bob", "a.io:5000": "bob", "localhost:5000": "ann", "b.io": "", "macro.io": "", "c.io": "",
		"docker.io": "hub", "esc.io": "a b", "last.io": "z", "other.io": "", "sub.a.io": "", "": "",
	} {
		wantUser(t, k, host, user)
	}
	for host, password := range map[string]string{"localhost": `p w" \ # `, "esc.io": "x#y", "last.io": "end"} {
		if c, _, err := k.Lookup(t.Context(), host); err != nil || c.Secret.Reveal() != password {
			t.Errorf("the password of %s is %q: %v", host, c.Secret.Reveal(), err)
		}
	}
}

func TestNetrcInTheHomeFolderNeedNotBeThere(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	env := func(key string) string { return map[string]string{"HOME": home}[key] }
	wantUser(t, credential.Netrc(env), "a.io", "")
	wantUser(t, credential.Netrc(func(string) string { return "" }), "a.io", "")
	write(t, home, ".netrc", "machine a.io login bob password pw\n")
	wantUser(t, credential.Netrc(env), "a.io", "bob")
	wantUser(t, credential.Default(env), "a.io", "bob")
	folder := credential.Netrc(func(string) string { return filepath.Dir(home) })
	if _, _, err := folder.Lookup(t.Context(), "a.io"); !errors.Is(err, credential.ErrStore) {
		t.Errorf("a folder is read: %v", err)
	}
}

// Whatever a file holds, it is read to its end.
func TestDamagedNetrcHasNoLogin(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"machine", "machine a.io login", "machine a.io login bob password", `machine a.io login bob password "`, "macdef x", "\"", `\`, "# ", strings.Repeat("machine ", 1000)} {
		name := write(t, t.TempDir(), "netrc", text)
		wantUser(t, credential.Netrc(func(key string) string { return map[string]string{"NETRC": name}[key] }), "a.io", "")
	}
}
