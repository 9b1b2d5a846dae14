package access_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy/access"
)

// Files are read again when they have changed; while they are broken or away, all
// stays as it was.
func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var out bytes.Buffer
	users := htpasswd(t)
	g := guard(t, access.Config{Users: users, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&out, nil))})
	h := registryBehind(t, g)
	alice, bob := login("alice", "wonderland"), login("bob", "builder's")
	step := func(content string, aliceIn, bobIn bool) {
		t.Helper()
		if content == "" {
			must(t, os.Remove(users))
		} else {
			must(t, os.WriteFile(users+".new", []byte(content), 0o600))
			must(t, os.Rename(users+".new", users))
		}
		now = now.Add(3 * time.Second)
		does(t, h, aRead, aliceIn, "Authorization", alice)
		does(t, h, aRead, bobIn, "Authorization", bob)
	}
	does(t, h, aRead, true, "Authorization", alice)
	does(t, h, aRead, false, "Authorization", bob)
	step("bob:"+hash(t, "builder's")+"\nalice:"+hash(t, "wonderland"), true, true)
	step("bob:"+hash(t, "builder's"), false, true)
	step("bob:plain", false, true)
	step("", false, true)
	step("alice:"+hash(t, "wonderland"), true, false)
	if n := strings.Count(out.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors are told, of 2:\n%s", n, out.String())
	}
	now = now.Add(-24 * time.Hour) // a clock that is set back
	step("bob:"+hash(t, "builder's"), false, true)
}

func TestMistakesInFilesAreTold(t *testing.T) {
	t.Parallel()
	good := hash(t, "x")
	for want, c := range map[string]access.Config{
		"line 2 is not NAME:HASH":  {Users: file(t, "alice:"+good+"\nbob\n")},
		"line 1 has no bcrypt":     {Users: file(t, "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")},
		"cost of 31":               {Users: file(t, "alice:"+strings.Replace(good, "$04$", "$31$", 1))},
		"a second time":            {Users: file(t, "alice:"+good+"\nalice:"+good)},
		"no such file":             {Users: filepath.Join(t.TempDir(), "none")},
		"less than 16":             {Tokens: file(t, "ci:short")},
		"line 1 is not NAME:TOKEN": {Tokens: file(t, theToken)},
		"no SHA-256":               {Tokens: file(t, "ci:sha256:beef")},
		"of another line":          {Tokens: file(t, "a:"+theToken+"\nb:"+theToken)},
		"at least 16":              {Secret: file(t, "short")},
		"one line":                 {Secret: file(t, theSecret+"\n"+theSecret)},
		"hosts of [proxy] has":     {Hosts: []string{"https://proxy.example"}},
	} {
		_, err := access.New(c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
		for _, secret := range []string{theToken, theSecret, "short", good} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("an error has %q: %v", secret, err)
			}
		}
	}
}

func TestASecretIsMadeOnce(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "secret")
	must(t, access.EnsureSecret(name))
	first, err := os.ReadFile(name)
	must(t, err)
	must(t, access.EnsureSecret(name))
	second, err := os.ReadFile(name)
	must(t, err)
	info, err := os.Stat(name)
	must(t, err)
	if !bytes.Equal(first, second) || len(first) != 65 || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%q, then %q, %v", first, second, info.Mode())
	}
	does(t, registryBehind(t, guard(t, access.Config{Secret: name})), aPush, true, access.SecretHeader, strings.TrimSpace(string(first)))
	if err := access.EnsureSecret(filepath.Join(name, "below")); err == nil {
		t.Error("a secret below a file")
	}
}
