package remote

import (
	"net/http"
	"strings"
	"testing"
)

func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"`,
		`bearer REALM = "x\"y,z" , Basic realm=a,NTLM dGVzdA==`, `Bearer realm="`, `=,=,"`, `Bearer a="b" a="c"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range parseChallenges(http.Header{"Www-Authenticate": {s}}) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || token(c.scheme) != c.scheme {
				t.Errorf("%q has the scheme %q", s, c.scheme)
			}
			for k := range c.params {
				if k != strings.ToLower(k) || token(k) != k {
					t.Errorf("%q has the parameter %q", s, k)
				}
			}
		}
	})
}

func TestScopesAddUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ a, b, want scope }{
		{"repository:a:pull", "", "repository:a:pull"},
		{"repository:a:pull", "repository:a:push,pull", "repository:a:pull,push"},
		{"repository:b:pull", "repository:a:pull", "repository:a:pull repository:b:pull"},
		{"repository:h:5000/a:pull", "registry:catalog:*", "registry:catalog:* repository:h:5000/a:pull"},
		{"aws", "repository:a:pull", "aws repository:a:pull"},
	} {
		got := test.a.and(test.b)
		if got != test.want || !got.covers(test.a) || !got.covers(test.b) {
			t.Errorf("%q and %q is %q, want %q", test.a, test.b, got, test.want)
		}
	}
	if scope("repository:a:pull").covers("repository:a:pull,push") {
		t.Error("pull covers push")
	}
}
