package lanes_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control"
	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// What makes no sense ends the connection with the reason, and only that one.
func TestCraftedMessagesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target, layer := f.build(t, "moby", "app:1", "app")
	socket := serve(t, lanes.Config{
		Containerd: []lanes.Containerd{{Name: "c", Root: f.root, Namespaces: []string{"moby"}}},
		Docker:     []lanes.Docker{{Name: "d", Root: graphRoot, Reader: readers{}}},
	})
	good := wire.Request{Op: wire.OpBlob, Engine: "c", Namespace: "moby", Image: target.Digest, Blob: layer.Digest}
	for name, r := range map[string]wire.Request{
		"a path in place of a blob":     {Op: wire.OpBlob, Engine: "c", Namespace: "moby", Image: target.Digest, Blob: "/etc/shadow"},
		"a path in place of an image":   {Op: wire.OpBlob, Engine: "c", Namespace: "moby", Image: "../../../../etc/shadow", Blob: layer.Digest},
		"a digest with a path in it":    {Op: wire.OpBlob, Engine: "c", Namespace: "moby", Image: target.Digest, Blob: "sha256:../../../../../../etc/shadow"},
		"a digest of another algorithm": {Op: wire.OpBlob, Engine: "c", Namespace: "moby", Image: target.Digest, Blob: "..:0000000000000000000000000000000000000000000000000000000000000000"},
		"a layer by a path":             {Op: wire.OpLayer, Engine: "d", Image: target.Digest, DiffID: "../diff"},
		"an image by a path":            {Op: wire.OpImage, Engine: "d", Image: "/etc/shadow"},
	} {
		c := greeted(t, socket)
		a := talk(t, c, r)
		wants(t, a.Error, wire.Malformed, "no digest")
		if err := c.Receive(&a); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection goes on: %v", name, err)
		}
	}
	for name, tc := range map[string]struct {
		r    wire.Request
		code wire.Code
	}{
		"a path in place of an engine":    {wire.Request{Op: wire.OpBlob, Engine: "/var/lib/containerd", Namespace: "moby", Image: target.Digest, Blob: layer.Digest}, wire.Denied},
		"a path in place of a namespace":  {wire.Request{Op: wire.OpBlob, Engine: "c", Namespace: "../k8s.io", Image: target.Digest, Blob: layer.Digest}, wire.Denied},
		"the other kind of engine":        {wire.Request{Op: wire.OpBlob, Engine: "d", Namespace: "moby", Image: target.Digest, Blob: layer.Digest}, wire.Denied},
		"a graph driver that is none":     {wire.Request{Op: wire.OpLayer, Engine: "c", Image: target.Digest, DiffID: layer.Digest}, wire.Denied},
		"a request that nobody has":       {wire.Request{Op: "open", Blob: "/etc/shadow"}, wire.Unsupported},
		"a layer that is not there":       {wire.Request{Op: wire.OpLayer, Engine: "d", Image: target.Digest, DiffID: layer.Digest}, wire.NotFound},
		"a very long name, which is told": {wire.Request{Op: wire.OpBlob, Engine: strings.Repeat("x", 60_000)}, wire.Denied},
	} {
		c := greeted(t, socket)
		if a := talk(t, c, tc.r); a.Error == nil || a.Error.Code != tc.code || len(a.Error.Message) > 500 {
			t.Errorf("%s: %+v", name, a.Error)
		}
		if a := talk(t, c, good); a.Error != nil {
			t.Errorf("%s: afterwards %v", name, a.Error)
		}
	}
}

func TestTheFirstRequestIsHello(t *testing.T) {
	t.Parallel()
	socket := serve(t, lanes.Config{})
	c := raw(t, socket)
	wants(t, talk(t, c, wire.Request{Op: wire.OpBlob}).Error, wire.Malformed, "hello")
	for _, v := range [][2]int{{0, 0}, {3, 9}, {-1, 5}, {2, 1}} {
		a := talk(t, raw(t, socket), wire.Request{Op: wire.OpHello, Oldest: v[0], Newest: v[1]})
		wants(t, a.Error, wire.Malformed, "install the same version")
	}
}

// Bytes that are no message end the connection; what was asked for before is
// answered.
func TestGarbageEndsTheConnection(t *testing.T) {
	t.Parallel()
	socket := serve(t, lanes.Config{})
	for name, tc := range map[string]struct {
		bytes []byte
		want  string
	}{
		"no JSON":        {[]byte("GET / HTTP/1.1\r\n\r\n"), "JSON"},
		"half":           {[]byte(`{"op":"hello","oldest":1`), "JSON"},
		"two":            {[]byte(`{"op":"hello"}{"op":"hello"}`), "JSON"},
		"a list":         {[]byte(`[1]`), "JSON"},
		"another type":   {[]byte(`{"op":7}`), "JSON"},
		"one byte more":  {append([]byte(`{"op":"`), bytes.Repeat([]byte("x"), wire.MaxMessage)...), "more than"},
		"deeply nested":  {bytes.Repeat([]byte("["), 60_000), "JSON"},
		"only NUL bytes": {make([]byte, 1000), "JSON"},
	} {
		c := raw(t, socket)
		_, err := c.Write(tc.bytes)
		must(t, err)
		var a wire.Answer
		must(t, c.Receive(&a))
		wants(t, a.Error, wire.Malformed, tc.want)
		if err := c.Receive(&a); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection goes on: %v", name, err)
		}
	}
	greeted(t, socket)
}

// Descriptors that a caller sends are closed at once, whatever the message.
func TestDescriptorsOfCallersAreClosed(t *testing.T) {
	t.Parallel()
	socket := serve(t, lanes.Config{})
	for _, message := range []string{`{"op":"hello","oldest":1,"newest":2}`, "garbage"} {
		c := raw(t, socket)
		r, w, err := os.Pipe()
		must(t, err)
		_, _, err = c.WriteMsgUnix([]byte(message), syscall.UnixRights(int(w.Fd()), int(w.Fd())), nil)
		must(t, errors.Join(err, w.Close()))
		var a wire.Answer
		must(t, c.Receive(&a))
		wants(t, a.Error, wire.Malformed, "descriptors")
		// Nobody has the pipe's other end any more.
		if _, err := io.ReadAll(r); err != nil {
			t.Error(err)
		}
		must(t, r.Close())
	}
}

// One user does not take the connections of all.
func TestConnectionsOfOneUserAreBounded(t *testing.T) {
	t.Parallel()
	socket := serve(t, lanes.Config{})
	var held []*wire.Conn
	for range 64 {
		held = append(held, greeted(t, socket))
	}
	hello := wire.Request{Op: wire.OpHello, Oldest: 1, Newest: 2}
	wants(t, talk(t, raw(t, socket), hello).Error, wire.Busy, "64 connections")
	if _, err := client(t, socket).Hello(t.Context()); !errors.Is(err, control.ErrAbsent) {
		t.Errorf("error is %v; the next lane would not be taken", err)
	}
	must(t, held[0].Close())
	// The server notices in its own time.
	for {
		if a := talk(t, raw(t, socket), hello); a.Error == nil {
			return
		}
	}
}

// A layer comes whole, and several at once.
func TestLayersAreStreamed(t *testing.T) {
	t.Parallel()
	config := []byte(`{"os":"linux"}`)
	long := bytes.Repeat([]byte("layer"), 300_000) // more than a pipe holds
	d := readers{image: digest.FromBytes(config), config: config, layers: map[digest.Digest]func() io.ReadCloser{
		digest.FromBytes(long): fixed(long), digest.FromString(""): fixed(nil),
	}}
	c := client(t, serve(t, lanes.Config{Docker: []lanes.Docker{{Name: "d", Root: graphRoot, Reader: d}}}))
	must(t, c.Serves(t.Context(), graphRoot))
	if err := c.Serves(t.Context(), "/elsewhere"); !errors.Is(err, control.ErrRefused) {
		t.Errorf("error is %v", err)
	}
	i, err := c.Image(t.Context(), graphRoot, d.image)
	must(t, err)
	if !bytes.Equal(i.Config, config) || len(i.Layers) != len(d.layers) || i.Layers[0].Size != 7 {
		t.Errorf("the image is %+v", i)
	}
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for id, open := range d.layers {
				want, err := io.ReadAll(open())
				must(t, err)
				rc, err := c.Layer(t.Context(), graphRoot, d.image, id)
				must(t, err)
				got, err := io.ReadAll(rc)
				must(t, errors.Join(err, rc.Close()))
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes, want %d", len(got), len(want))
				}
			}
		})
	}
}

// A layer that breaks off, or whose diff ID is wrong, never ends with io.EOF.
func TestABrokenLayerIsAnError(t *testing.T) {
	t.Parallel()
	id := digest.FromString("x")
	d := readers{image: id, layers: map[digest.Digest]func() io.ReadCloser{id: func() io.ReadCloser {
		return io.NopCloser(io.MultiReader(strings.NewReader("half"), broken{}))
	}}}
	c := client(t, serve(t, lanes.Config{Docker: []lanes.Docker{{Name: "d", Root: graphRoot, Reader: d}}}))
	rc, err := c.Layer(t.Context(), graphRoot, id, id)
	must(t, err)
	got, err := io.ReadAll(rc)
	if string(got) != "half" || err == nil || !strings.Contains(err.Error(), "another diff ID") {
		t.Errorf("%q, error is %v", got, err)
	}
	if _, err := rc.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read on: %v", err)
	}
	must(t, rc.Close())
	if _, err := c.Layer(t.Context(), graphRoot, id, digest.FromString("none")); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("another diff ID") }

// A client that goes away, or never reads, costs nothing once it is gone.
func TestAClientThatGoesAwayEndsItsStream(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 2)
	id := digest.FromString("x")
	d := readers{image: id, layers: map[digest.Digest]func() io.ReadCloser{id: func() io.ReadCloser { return &endless{closed} }}}
	socket := serve(t, lanes.Config{Docker: []lanes.Docker{{Name: "d", Root: graphRoot, Reader: d}}})

	c := client(t, socket)
	rc, err := c.Layer(t.Context(), graphRoot, id, id)
	must(t, err)
	_, err = io.ReadFull(rc, make([]byte, 1<<20))
	must(t, err)
	must(t, rc.Close())
	<-closed

	slow := greeted(t, socket)
	must(t, slow.Send(wire.Request{Op: wire.OpLayer, Engine: "d", Image: id, DiffID: id}, nil))
	var a wire.Answer
	pipe, err := slow.ReceiveFile(&a)
	must(t, err)
	must(t, slow.Close()) // and the pipe stays, full
	<-closed
	must(t, pipe.Close())
}

// endless is a layer without an end.
type endless struct{ closed chan struct{} }

func (*endless) Read(p []byte) (int, error) { return len(p), nil }

func (e *endless) Close() error {
	e.closed <- struct{}{}
	return nil
}

// A sidecar that is gone in the middle is an error, not the end of the layer.
func TestASidecarThatDiesIsAnError(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "s")
	l, err := net.Listen(wire.Network, socket)
	must(t, err)
	id := digest.FromString("x")
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			defer c.Close()
			w := wire.NewConn(c.(*net.UnixConn))
			var r wire.Request
			if err := w.Receive(&r); err != nil {
				return err
			}
			if err := w.Send(wire.Answer{Version: wire.Newest, Engines: []wire.Engine{{Name: "d", Kind: wire.Docker, Root: graphRoot}}}, nil); err != nil {
				return err
			}
			if err := w.Receive(&r); err != nil {
				return err
			}
			out, in, err := os.Pipe()
			if err != nil {
				return err
			}
			_, err = in.WriteString("half")
			return errors.Join(err, w.Send(wire.Answer{}, out), out.Close(), in.Close(), l.Close())
		}()
	}()
	c := client(t, socket)
	rc, err := c.Layer(t.Context(), graphRoot, id, id)
	must(t, err)
	got, err := io.ReadAll(rc)
	if string(got) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "went away") {
		t.Errorf("%q, error is %v", got, err)
	}
	must(t, errors.Join(rc.Close(), <-done))
	if _, err := c.Hello(t.Context()); !errors.Is(err, control.ErrAbsent) {
		t.Errorf("afterwards the error is %v", err)
	}
}

// shortDir is a folder whose path a socket's fits.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lanes") //nolint:usetesting // short
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"op":"hello","oldest":1,"newest":2}`))
	f.Add([]byte(`{"op":"blob","engine":"c","namespace":"moby","image":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","blob":"/etc/shadow"}`))
	f.Add([]byte(`{"op":"layer","engine":"d","image":"../..","diff_id":""}`))
	f.Add([]byte(`{"op":null}`))
	f.Add(bytes.Repeat([]byte("{"), 1000))
	root := f.TempDir()
	socket := serve(f, lanes.Config{
		Containerd: []lanes.Containerd{{Name: "c", Root: root, Namespaces: []string{"moby"}}},
		Docker:     []lanes.Docker{{Name: "d", Root: graphRoot, Reader: readers{}}},
	})
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) == 0 {
			return // an empty packet is the end
		}
		c := greeted(t, socket)
		if _, err := c.Write(message); err != nil {
			return // longer than the kernel takes
		}
		var a wire.Answer
		lent, err := c.ReceiveFile(&a)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if lent != nil {
			t.Fatal("something was lent")
		}
		if a.Error == nil && a.Version == 0 {
			t.Fatalf("%q was answered with %+v", message, a)
		}
		must(t, c.Close())
	})
}
