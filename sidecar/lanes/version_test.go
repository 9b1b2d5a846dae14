package lanes_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/plugin/control"
	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// A client of version 1 sends what it always sent, and gets what it knows from a
// sidecar of today: the messages are written out, so that they stay what they
// were.
func TestAClientOfVersion1(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target, layer := f.build(t, "moby", "app:1", "app")
	socket := serve(t, lanes.Config{Containerd: []lanes.Containerd{{Name: "c", Root: f.root, Namespaces: []string{"moby"}}}, Docker: []lanes.Docker{{Name: "d", Root: graphRoot, Reader: readers{}}}})
	c := raw(t, socket)
	say := func(message string) (map[string]json.RawMessage, *os.File) {
		t.Helper()
		_, err := c.Write([]byte(message))
		must(t, err)
		answer := map[string]json.RawMessage{}
		got, err := c.ReceiveFile(&answer)
		must(t, err)
		return answer, got
	}
	a, _ := say(`{"op":"hello","oldest":1,"newest":1}`)
	if string(a["version"]) != "1" || !strings.Contains(string(a["engines"]), `{"name":"c","kind":"containerd","root":`) {
		t.Fatalf("hello is answered with %s", a)
	}
	a, got := say(`{"op":"blob","engine":"c","namespace":"moby","image":"` + target.Digest.String() + `","blob":"` + layer.Digest.String() + `"}`)
	if got == nil {
		t.Fatalf("no blob: %s", a)
	}
	bytes, err := io.ReadAll(got)
	must(t, errors.Join(err, got.Close()))
	if digest.FromBytes(bytes) != layer.Digest {
		t.Errorf("the blob is %q", bytes)
	}
	if a, _ = say(`{"op":"layer","engine":"d","image":"` + target.Digest.String() + `","diff_id":"` + layer.Digest.String() + `"}`); !strings.Contains(string(a["error"]), `"code":"unsupported"`) {
		t.Errorf("a layer in version 1: %s", a)
	}
}

// A client of tomorrow, which knows more, is answered in the version of today.
func TestAClientOfTheNextVersion(t *testing.T) {
	t.Parallel()
	c := raw(t, serve(t, lanes.Config{}))
	_, err := c.Write([]byte(`{"op":"hello","oldest":2,"newest":3,"wish":{"what":"ever"}}`))
	must(t, err)
	var a wire.Answer
	must(t, c.Receive(&a))
	if a.Error != nil || a.Version != 2 {
		t.Errorf("%+v", a)
	}
}

// A sidecar of version 1 lends blobs to a client of today, which does not ask it
// for layers.
func TestASidecarOfVersion1(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blob")
	must(t, os.WriteFile(path, []byte("blob"), 0o444))
	d := digest.FromString("blob")
	socket := old(t, func(request map[string]any) (string, string) {
		switch request["op"] {
		case "hello":
			if request["oldest"] != 1.0 {
				return `{"error":{"code":"malformed","message":"too new"}}`, ""
			}
			return `{"version":1,"program":"v0.1","engines":[{"name":"c","kind":"containerd","root":"/x","namespaces":["moby"]},{"name":"d","kind":"docker","root":"/fake/docker"}]}`, ""
		case "blob":
			return `{"size":4}`, path
		}
		return `{"error":{"code":"unsupported","message":"what?"}}`, ""
	})
	c := client(t, socket)
	info, err := c.Hello(t.Context())
	must(t, err)
	if info.Protocol != 1 || info.Program != "v0.1" {
		t.Errorf("%+v", info)
	}
	must(t, c.Lends(t.Context(), "moby"))
	f, err := c.Blob(t.Context(), "moby", d, d)
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	if string(got) != "blob" {
		t.Errorf("the blob is %q", got)
	}
	if _, err := c.Depot(t.Context(), graphRoot); !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "v0.1") {
		t.Errorf("layers of a sidecar of version 1: %v", err)
	}
}

// A sidecar that lies is found out before anything is believed.
func TestASidecarThatLies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "short")
	must(t, os.WriteFile(path, []byte("x"), 0o444))
	d := digest.FromString("blob")
	hello := `{"version":2,"engines":[{"name":"c","kind":"containerd","root":"/x","namespaces":["moby"]}]}`
	for name, tc := range map[string]struct{ hello, answer, file, want string }{
		"no descriptor":           {hello, `{"size":4}`, "", "no descriptor"},
		"another size":            {hello, `{"size":4}`, path, "and said that it is one of 4"},
		"a folder":                {hello, `{"size":4}`, dir, "lent a file of mode d"},
		"no message":              {hello, `}`, path, "JSON"},
		"an error without a code": {hello, `{"error":{"message":"no luck"}}`, "", "no luck"},
		"a version of its own":    {`{"version":9}`, "", "", "install the same version"},
		"no version":              {`{}`, "", "", "install the same version"},
		"not now":                 {`{"error":{"code":"busy","message":"too many"}}`, "", "", "too many"},
	} {
		c := client(t, old(t, func(request map[string]any) (string, string) {
			if request["op"] == "hello" {
				return tc.hello, ""
			}
			return tc.answer, tc.file
		}))
		f, err := c.Blob(t.Context(), "moby", d, d)
		if f != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error is %v, want %q", name, err, tc.want)
		}
	}
}

// old is a sidecar made of answers: a message, and the path of a file to lend.
func old(t testing.TB, answer func(map[string]any) (message, file string)) string {
	t.Helper()
	socket := filepath.Join(shortDir(t), "s")
	l, err := net.Listen(wire.Network, socket)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(c.(*net.UnixConn), answer)
		}
	}()
	return socket
}

func answerAll(c *net.UnixConn, answer func(map[string]any) (message, file string)) {
	defer c.Close()
	w := wire.NewConn(c)
	for {
		request := map[string]any{}
		if err := w.Receive(&request); err != nil {
			return
		}
		message, path := answer(request)
		if path == "" {
			if _, err := c.Write([]byte(message)); err != nil {
				return
			}
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return
		}
		var raw json.RawMessage
		if json.Valid([]byte(message)) {
			raw = json.RawMessage(message)
			err = w.Send(raw, f)
		} else {
			_, err = c.Write([]byte(message))
		}
		if errors.Join(err, f.Close()) != nil {
			return
		}
	}
}
