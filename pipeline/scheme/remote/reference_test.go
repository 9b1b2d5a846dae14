package remote_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

const (
	sum256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	sum512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

func TestReferences(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ host, path, want string }{
		"port":                 {"localhost:5000", "/img:1", "localhost:5000/img:1"},
		"default tag":          {"quay.io", "/team/app", "quay.io/team/app:latest"},
		"nested":               {"registry.gitlab.com", "/group/sub/project/image:v1", "registry.gitlab.com/group/sub/project/image:v1"},
		"ghcr":                 {"ghcr.io", "/owner/name:main", "ghcr.io/owner/name:main"},
		"Docker Hub":           {"docker.io", "/busybox:1.36", "docker.io/library/busybox:1.36"},
		"Docker Hub, user":     {"docker.io", "/user/app", "docker.io/user/app:latest"},
		"Docker Hub's index":   {"index.docker.io", "/busybox", "docker.io/library/busybox:latest"},
		"Docker Hub's API":     {"registry-1.docker.io", "/library/busybox", "docker.io/library/busybox:latest"},
		"digest":               {"quay.io", "/app@" + sum256, "quay.io/app@" + sum256},
		"sha512":               {"quay.io", "/app@" + sum512, "quay.io/app@" + sum512},
		"tag and digest":       {"quay.io", "/app:1@" + sum256, "quay.io/app:1"},
		"one letter":           {"r", "/a", "r/a:latest"},
		"IPv6":                 {"[::1]:5000", "/a/b", "[::1]:5000/a/b:latest"},
		"separators":           {"r", "/a.b/c__d/e--f_g:X.y-z_0", "r/a.b/c__d/e--f_g:X.y-z_0"},
		"no host":              {"", "/a/b", ""},
		"no repository":        {"busybox:1", "", ""},
		"upper case":           {"r", "/App", ""},
		"dots":                 {"r", "/a/../b", ""},
		"empty part":           {"r", "/a//b", ""},
		"query in repository":  {"r", "/a?b", ""},
		"short digest":         {"r", "/a@sha256:abcd", ""},
		"digest of no kind":    {"r", "/a@md5:abcd", ""},
		"tag too long":         {"r", "/a:" + strings.Repeat("x", 129), ""},
		"empty tag":            {"r", "/a:", ""},
		"host with a space":    {"r x", "/a", ""},
		"host with userinfo":   {"u@r", "/a", ""},
		"repository too long":  {"r", "/" + strings.Repeat("a", 256), ""},
		"port of another kind": {"r:http", "/a", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := remote.ParseReference(test.host, test.path)
			var usage *pipeline.UsageError
			switch {
			case test.want == "" && !errors.As(err, &usage):
				t.Errorf("got %v and %v, want a usage error", got, err)
			case test.want != "" && (err != nil || got.String() != test.want):
				t.Errorf("got %s, want %s: %v", got, test.want, err)
			}
		})
	}
}

func TestFamiliarNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"busybox":            "docker.io/library/busybox:latest",
		"user/app:2":         "docker.io/user/app:2",
		"quay.io/team/app":   "quay.io/team/app:latest",
		"localhost/app":      "localhost/app:latest",
		"host:5000/app:1":    "host:5000/app:1",
		"docker.io/busybox":  "docker.io/library/busybox:latest",
		"busybox@" + sum256:  "docker.io/library/busybox@" + sum256,
		"registry/app/inner": "docker.io/registry/app/inner:latest",
	} {
		if got, err := remote.ParseName(name); err != nil || got.String() != want {
			t.Errorf("%s is %s, want %s: %v", name, got, want, err)
		}
	}
}

func TestOptionsAreCheckedEarly(t *testing.T) {
	t.Parallel()
	schemes := pipeline.Schemes{remote.Scheme(remote.Config{})}
	tests := map[string]string{
		"?compression=lz4":    "gzip or zstd",
		"?max_workers=0":      "from 1 up",
		"?max_workers=many":   "whole number",
		"?insecure=maybe":     "true or false",
		"?skip_verify=maybe":  "true or false",
		"?kompression=gzip":   `did you mean "compression"`,
		"?ca=/does/not/exist": "no such file",
		"?arch=arm":           "no meaning for a destination",
	}
	for query, want := range tests {
		_, err := schemes.Sink("registry://registry.example/app:1" + query)
		wantError(t, err, want)
	}
	for _, query := range []string{"?max_workers=1", "?max_workers=true", "?insecure=YES", "?os=linux&architecture=arm&variant=v7", "?realm=a.test,b.test"} {
		if _, err := schemes.Source("registry://registry.example/app:1" + query); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, err := schemes.Source("registry://registry.example/app:1?compression=gzip"); err == nil {
		t.Error("a source takes compression")
	}
}

// parseFull reads a full reference again, as part of a URI.
func parseFull(r remote.Reference) (remote.Reference, error) {
	return remote.ParseReference(r.Host, strings.TrimPrefix(r.Full(), r.Host))
}

func FuzzReference(f *testing.F) {
	f.Add("docker.io", "/library/busybox:1.36")
	f.Add("[::1]:5000", "/a/b@"+sum256)
	f.Add("h:1", "a:b@sha512:"+strings.Repeat("0", 128))
	f.Fuzz(func(t *testing.T, host, path string) {
		r, err := remote.ParseReference(host, path)
		if err != nil {
			return
		}
		if strings.ContainsAny(r.Repository, "?#%@: \\") || strings.Contains(r.Repository, "..") || strings.ContainsAny(r.Tag, "/?#% ") {
			t.Errorf("%q %q is taken as %+v", host, path, r)
		}
		again, err := remote.ParseReference(r.Host, strings.TrimPrefix(r.String(), r.Host))
		if err != nil || again.String() != r.String() {
			t.Errorf("%s reads again as %s: %v", r, again, err)
		}
		if full, err := parseFull(r); err != nil || full != r {
			t.Errorf("%+v in full reads again as %+v: %v", r, full, err)
		}
	})
}

// What is pasted from a browser is told how to be written.
func TestURLInAURIIsExplained(t *testing.T) {
	t.Parallel()
	_, err := pipeline.Schemes{remote.Scheme(remote.Config{})}.Source("registry://https://registry.example/app:1")
	wantError(t, err, "leave out https://")
}
