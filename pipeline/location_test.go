package pipeline_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
)

func TestLocationOfAFile(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"tar://rel.tar":               "rel.tar",
		"tar://./rel.tar":             "./rel.tar",
		"tar://../rel.tar":            "../rel.tar",
		"tar://a/b.tar":               "a/b.tar",
		"tar:///abs/f.tar":            "/abs/f.tar",
		"tar:foo.tar":                 "foo.tar",
		"tar:/abs":                    "/abs",
		"tar://localhost/abs.tar":     "/abs.tar",
		"TAR://x":                     "x",
		"tar://host:80/p":             "host:80/p",
		"tar://user@host/p":           "user@host/p",
		"tar://a%20b.tar":             "a b.tar",
		"tar:///tmp/a%20b.tar":        "/tmp/a b.tar",
		"tar:///tmp/100%.tar":         "/tmp/100%.tar",
		"tar:///tmp/a b+c;d.tar":      "/tmp/a b+c;d.tar",
		"tar:///tmp/x.tar?format=oci": "/tmp/x.tar",
		"tar:///tmp/x.tar#fragment":   "/tmp/x.tar",
		"tar:///tmp/%3F%23.tar":       "/tmp/?#.tar",
		"tar://-":                     "-",
	}
	for uri, want := range cases {
		t.Run(uri, func(t *testing.T) {
			t.Parallel()
			loc, err := pipeline.ParseLocation(uri)
			if err != nil {
				t.Fatal(err)
			}
			got, err := loc.FilePath()
			if err != nil || got != want || loc.Scheme != "tar" {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func TestLocationWithoutPathIsAUsageError(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"tar://", "dir://", "tar:"} {
		loc, err := pipeline.ParseLocation(uri)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := loc.FilePath(); err == nil || !strings.Contains(err.Error(), "URI requires a path") {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestLocationQuery(t *testing.T) {
	t.Parallel()
	loc, err := pipeline.ParseLocation("registry://u%40x:p%3Aw@h:5000/a/b:1?insecure=YES&max_workers=1&variant=&x=a+b%2B&x=c&valueless")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"insecure": "YES", "max_workers": "1", "x": "c"}, loc.Query); d != "" {
		t.Error(d)
	}
	if v, ok, err := loc.Bool("insecure"); !v || !ok || err != nil {
		t.Error("YES is not true")
	}
	if v, ok, err := loc.Int("max_workers"); v != 1 || !ok || err != nil {
		t.Error("max_workers=1 is not 1")
	}
	if p, _ := loc.User.Password(); loc.User.Username() != "u@x" || p != "p:w" || loc.Host != "h:5000" || loc.Path != "/a/b:1" {
		t.Errorf("got %+v", loc)
	}
	for value, want := range map[string]bool{"true": true, "Yes": true, "1": true, "FALSE": false, "no": false, "0": false} {
		l, _ := pipeline.ParseLocation("registry://h/i?insecure=" + value)
		if got, ok, err := l.Bool("insecure"); got != want || !ok || err != nil {
			t.Errorf("%s is %v, %v", value, got, err)
		}
	}
	l, _ := pipeline.ParseLocation("registry://h/i?insecure=maybe&max_workers=many")
	if _, _, err := l.Bool("insecure"); err == nil {
		t.Error("maybe is a boolean")
	}
	if _, _, err := l.Int("max_workers"); err == nil {
		t.Error("many is a number")
	}
}

func TestLocationNeverShowsASecret(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"registry://u:hunter2@h/i", "registry://h/i?password=hunter2&username=u", "registry://u:hunter2@h/i?token=hunter2"} {
		loc, err := pipeline.ParseLocation(uri)
		if err != nil || strings.Contains(loc.String(), "hunter2") {
			t.Errorf("%s is shown as %s", uri, loc)
		}
	}
	if _, err := pipeline.ParseLocation("u:hunter2@h/i"); err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	if _, err := pipeline.ParseLocation("!!u:hunter2@h/i"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func schemes() pipeline.Schemes {
	open := func(pipeline.Location) (pipeline.Source, error) { return nil, nil }
	return pipeline.Schemes{{Name: "tar", Aliases: []string{"file"}, Source: open, Options: []pipeline.Option{
		{Name: "format", Sink: true}, {Name: "image", Source: true},
	}}, {Name: "registry"}}
}

func TestSchemeErrorsNameTheRemedy(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"no-scheme-here":     "Missing scheme in URI: no-scheme-here",
		"1x://y":             "Missing scheme in URI",
		"tarr://x":           "Unknown input scheme: tarr (did you mean tar://?)",
		"zzzzzz://x":         "Unknown input scheme: zzzzzz (there are tar, registry)",
		"tar://x?imag=y":     `tar:// has no option "imag"; did you mean "image"?`,
		"tar://x?qqqqqq=y":   `tar:// has no option "qqqqqq"; it takes image`,
		"tar://x?format=oci": `the option "format" of tar:// has no meaning for a source`,
		"registry://h/i":     "registry:// cannot be read from; sources are tar://",
		"FILE://x?image=a":   "",
	}
	for uri, want := range cases {
		_, err := schemes().Source(uri)
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", uri, err, want)
		}
	}
	if _, err := schemes().Sink("nope://x"); err == nil || !strings.Contains(err.Error(), "Unknown output scheme: nope") {
		t.Error(err)
	}
}

// FuzzLocation: what parses never shows its password, and nothing panics.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"tar:foo", "registry://u:p@h:1/a/b:c?x=y#z", "docker://a@sha256:00", "x://[", "registry://%zz", "::", "a://?&=&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		loc, err := pipeline.ParseLocation(s)
		if err != nil {
			return
		}
		_, _ = loc.FilePath()
		if p, ok := loc.User.Password(); ok && len(p) > 8 && !strings.Contains(loc.Host+loc.Path+loc.User.Username(), p) && len(loc.Query) == 0 && strings.Contains(loc.String(), p) {
			t.Errorf("%q shows its password", s)
		}
	})
}

// What is shown of a location names the same one, so it can be used again.
func TestLocationAsShownIsTheSameLocation(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"tar://a b%3Fc.tar", "tar:///tmp/50%25.tar", "tar:///tmp/100%", "tar:///tmp/%2541", "dir://x%23y?image=team/app:1%26more&expand=true",
		"docker://app:1?socket=/run/a%2Bb.sock", "registry://127.0.0.1:5000/app@sha256:1",
	} {
		loc, err := pipeline.ParseLocation(uri)
		if err != nil {
			t.Fatal(err)
		}
		again, err := pipeline.ParseLocation(loc.String())
		if err != nil || !reflect.DeepEqual(again, loc) {
			t.Errorf("%s is shown as %s, which is %+v and not %+v (%v)", uri, loc, again, loc, err)
		}
	}
}
