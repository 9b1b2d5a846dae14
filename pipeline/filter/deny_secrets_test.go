package filter_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// denied runs an image through filters and returns why it was refused.
func denied(t testing.TB, src pipeline.Source, specs ...string) string {
	t.Helper()
	dst := pipelinetest.NewSink()
	var fs []pipeline.Filter
	for _, s := range specs {
		fs = append(fs, newFilter(t, filter.Defaults{}, s))
	}
	_, err := pipeline.Run(t.Context(), src, fs, dst, pipeline.Options{})
	if (err == nil) != (len(dst.Published) > 0) {
		t.Errorf("error %v, published %v", err, dst.Published)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// chance is what a token is made of.
func chance(alphabet string, n int) string {
	b := make([]byte, n)
	for {
		_, _ = rand.Read(b)
		different := map[byte]bool{}
		for i := range b {
			b[i] = alphabet[int(b[i])%len(alphabet)]
			different[b[i]] = true
		}
		if s := string(b); len(different) >= min(n/2, 10) && strings.ContainsAny(s, "123456789ABCDEF") {
			return s
		}
	}
}

const (
	alnum  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	base64 = alnum + "+/"
)

func keyPEM(t testing.TB, kind string) string {
	t.Helper()
	var key any
	var err error
	if kind == "RSA" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// secretSamples are what has to be found, by the words that tell it. The values
// are made of chance, so that nobody takes this file for one that has secrets.
func secretSamples(t testing.TB) map[string][]string {
	rsaKey := keyPEM(t, "RSA")
	quoted, err := json.Marshal(map[string]string{"private_key": rsaKey})
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for line := range strings.Lines(rsaKey) {
		fmt.Fprintf(&source, "  \"%s\\n\"\r\n", strings.TrimSpace(line))
	}
	body := chance(base64, 64) + "\n"
	return map[string][]string{
		"a private key": {
			rsaKey, keyPEM(t, "Ed25519"), string(quoted), source.String(), strings.ReplaceAll(rsaKey, "\n", "\r\n"),
			"key: |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n    " + body,
			"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123ABCD\n\n" + body,
			"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n" + body,
			"-----BEGIN EC PRIVATE KEY-----\n" + body,
		},
		"a PuTTY private key":          {"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\nPublic-Lines: 2\n" + body},
		"an AWS access key ID":         {"id = AKIA" + chance(base32, 16), "ASIA" + chance(base32, 16) + "\n"},
		"an AWS secret access key":     {"aws_secret_access_key = " + chance(base64, 40), "AWS_SECRET_ACCESS_KEY='" + chance(base64, 40) + "'", `{"SecretAccessKey": "` + chance(base64, 40) + `"}`},
		"a Google API key":             {"AIza" + chance(alnum+"_-", 35)},
		"a Google OAuth client secret": {"GOCSPX-" + chance(alnum+"_-", 28)},
		"an Azure storage account key": {"EndpointSuffix=x;AccountKey=" + chance(base64, 86) + "==;"},
		"an Azure shared access key":   {"SharedAccessKey=" + chance(base64, 43) + "="},
		"an Azure client secret":       {"abc8Q~" + chance(alnum+".-~_", 34) + "\n", "x.Y7Q~" + chance(alnum, 31)},
		"a GitHub token":               {"https://x:ghp_" + chance(alnum, 36) + "@github.com", "ghs_" + chance(alnum, 36), "github_pat_" + chance(alnum, 22) + "_" + chance(alnum, 59)},
		"a GitLab token":               {"glpat-" + chance(alnum+"_-", 20), "glrt-" + chance(alnum, 20), "glpat-" + chance(alnum, 27) + ".01.0z0abcdef"},
		"a Slack token":                {"xoxb-123456789012-1234567890123-" + chance(alnum, 24), "xapp-1-A" + chance(base32, 10) + "-1234567890123-" + chance("abcdef0123456789", 64)},
		"a Slack webhook":              {"https://hooks.slack.com/services/T" + chance(base32, 8) + "/B" + chance(base32, 8) + "/" + chance(alnum, 24)},
		"an npm token":                 {"npm_" + chance(alnum, 36)},
		"a PyPI token":                 {"pypi-AgEIcHlwaS5vcmc" + chance(alnum+"_-", 100)},
	}
}

func TestDenyFindsSecretsAndNeverPrintsThem(t *testing.T) {
	t.Parallel()
	for what, samples := range secretSamples(t) {
		for _, s := range samples {
			why := denied(t, imageOf(t, tarOf(t, file("clean", "x"), file("a/b", "one\n\n"+s))), "deny:secrets=true")
			if !strings.Contains(why, "a/b has "+what+" in line ") || strings.Contains(why, "clean") {
				t.Errorf("of\n%s\nit says %q", s, why)
			}
			for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r < '0' || r > 'z' }) {
				if len(word) > 18 && strings.Contains(why, word) {
					t.Errorf("%q has %q", why, word)
				}
			}
		}
	}
}

// Programs that handle keys, and what people write about them, are no secrets.
func TestDenyDoesNotCryAtWhatOnlyLooksLikeASecret(t *testing.T) {
	t.Parallel()
	body := chance(base64, 64)
	for _, s := range []string{
		"-----BEGIN RSA PRIVATE KEY-----\x00-----END RSA PRIVATE KEY-----\x00",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA...\n-----END RSA PRIVATE KEY-----",
		"-----BEGIN PUBLIC KEY-----\n" + body, "-----BEGIN CERTIFICATE-----\n" + body,
		"if strings.HasPrefix(s, \"-----BEGIN OPENSSH PRIVATE KEY-----\") {\n\treturn parseOpenSSHPrivateKeyBlock(s, passphrase)\n}",
		"-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("A", 64),
		"AKIAIOSFODNN7EXAMPLE", "AKIA0000000000000000", "xAKIA" + chance(base32, 16), "AKIA" + chance(base32, 20), "AKIA" + strings.Repeat("A", 16),
		"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key=${AWS_SECRET_ACCESS_KEY}", "aws_secret_access_key (string) -- the key",
		"ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ghp_" + chance(alnum, 20), "ghp_1234567890abcdefghijklmnopqrstuvwxyz", "my_ghp_" + chance(alnum, 36),
		"npm_config_registry", "npm_" + chance(alnum, 50), "npm_lifecycle_event_and_much_more_of_the_same",
		"glpat-your-token-goes-here-please", "glrt-some-long-name-of-a-class", "glpat-XXXXXXXXXXXXXXXXXXXX",
		"https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "xoxb-your-token-here", "xoxb-123-abc",
		"AIzaSy", "AIza" + strings.Repeat("x", 35), "pypi-AgEIcHlwaS5vcmc", "AccountKey=<key>;", "SharedAccessKey=key",
		strings.Repeat("-", 100_000), strings.Repeat("-----BEGIN ", 20_000), strings.Repeat("ghp_", 40_000),
	} {
		if why := denied(t, imageOf(t, tarOf(t, file("a", s))), "deny:secrets=true"); why != "" {
			t.Errorf("of %.80q it says %q", s, why)
		}
	}
}

// The self-test of GnuTLS, which every Debian has, has a key that is none.
func TestDenyKnowsTheKeysOfSelfTests(t *testing.T) {
	t.Parallel()
	key := keyPEM(t, "Ed25519")
	lib := "usr/lib/x86_64-linux-gnu/libgnutls.so.30.34.3"
	if why := denied(t, imageOf(t, tarOf(t, file(lib, key))), "deny:secrets=true"); why != "" {
		t.Error(why)
	}
	for _, f := range []member{file("libgnutls.so.key/a", key), file(lib, "ghp_"+chance(alnum, 36))} {
		if why := denied(t, imageOf(t, tarOf(t, f)), "deny:secrets=true"); why == "" {
			t.Errorf("%s is let through", f.Name)
		}
	}
}

// A secret is found wherever in a large file it stands, however it is written.
func TestDenyFindsASecretAtEveryPlaceOfALargeFile(t *testing.T) {
	t.Parallel()
	const buffer, window = 128 << 10, 1 << 10
	token := "ghp_" + chance(alnum, 36)
	for _, near := range []int{0, window, buffer - window, buffer, 2*buffer - 2*window, 300_000} {
		for d := -45; d <= 45; d += 9 {
			at := max(0, near+d)
			s := strings.Repeat(".\n", at/2) + strings.Repeat(".", at%2) + token
			want := fmt.Sprintf("a has a GitHub token in line %d ", at/2+1)
			if why := denied(t, imageOf(t, tarOf(t, file("a", s+strings.Repeat("\n.", 70_000)))), "deny:secrets=true"); !strings.Contains(why, want) {
				t.Fatalf("at %d it says %q, want %q", at, why, want)
			}
		}
	}
}

func TestDenyKnowsFilesThatHoldLogins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ with, without string }{
		"root/.npmrc":                {"//registry.example/:_authToken=0f8fad5b-d9cb\n", "//registry.example/:_authToken=${NPM_TOKEN}\n_auth=\n# _password=hunter2hunter2\nregistry=https://registry.example\n"},
		"root/.netrc":                {"machine example.com\n  login ann\n  password hunter2\n", "machine example.com login ann\n# password hunter2\n"},
		"root/.pypirc":               {"[pypi]\nusername = ann\npassword = hunter2\n", "[pypi]\nusername = ann\npassword = %(PW)s\n"},
		"root/.git-credentials":      {"https://ann:hunter2@example.com\n", "https://example.com\n"},
		"./root/.docker/config.json": {`{"auths":{"example.com":{"auth":"YW5uOmh1bnRlcjI="}}}`, `{"auths":{"example.com":{}},"credsStore":"pass"}`},
		"run/containers/auth.json":   {`{"auths":{"example.com":{"auth": "YW5uOmh1bnRlcjI="}}}`, `{"auths":{"example.com":{"auth":""}}}`},
	} {
		why := denied(t, imageOf(t, tarOf(t, file(name, c.with))), "deny:secrets=true")
		if !strings.Contains(why, name+" has ") || !strings.Contains(why, "login") || strings.Contains(why, "hunter2") {
			t.Errorf("of %s it says %q", name, why)
		}
		if why := denied(t, imageOf(t, tarOf(t, file(name, c.without), file("other", c.with))), "deny:secrets=true"); why != "" {
			t.Errorf("of a harmless %s it says %q", name, why)
		}
	}
}

// BenchmarkDenySecrets looks into text and into a program.
func BenchmarkDenySecrets(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{"text": "timeline.go", "program": self} {
		content, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		layer := tarOf(b, file(name, strings.Repeat(string(content), max(1, 20<<20/len(content)))))
		f := newFilter(b, filter.Defaults{}, "deny:secrets=true,allow=nothing").(pipeline.LayerFilter)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(layer)))
			b.ReportAllocs()
			for b.Loop() {
				h, err := f.Layer(b.Context(), pipeline.LayerInfo{}, &tarstream.Detector{})
				if err == nil {
					err = tarstream.Read(bytes.NewReader(layer), 0, h)
				}
				if err != nil && !strings.Contains(err.Error(), "deny refuses") {
					b.Fatal(err)
				}
			}
		})
	}
}
