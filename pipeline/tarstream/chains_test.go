package tarstream_test

import (
	"bytes"
	"io"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// handler is a Handler of two functions.
type handler struct {
	entry func(e *tarstream.Entry) error
	end   func(rest io.Reader) error
}

func (h handler) Entry(e *tarstream.Entry) error { return h.entry(e) }
func (h handler) End(rest io.Reader) error       { return h.end(rest) }

// inserts passes on a foreign entry before or behind entries.
type inserts struct {
	tarstream.Handler
	before, behind func(h *tarstream.Header) []byte
}

func (i inserts) Entry(e *tarstream.Entry) error {
	name := *e.Header()
	if err := i.insert(i.before, &name); err != nil {
		return err
	}
	if err := i.Handler.Entry(e); err != nil {
		return err
	}
	return i.insert(i.behind, &name)
}

func (i inserts) insert(from func(h *tarstream.Header) []byte, h *tarstream.Header) error {
	if from == nil {
		return nil
	}
	return tarstream.Read(bytes.NewReader(from(h)), 0, entries{i.Handler})
}

// entries passes on no end.
type entries struct{ tarstream.Handler }

func (entries) End(io.Reader) error { return nil }

// tails passes on another reader of what follows the entries.
type tails struct {
	tarstream.Handler
	f func(rest io.Reader) io.Reader
}

func (h tails) End(rest io.Reader) error { return h.Handler.End(h.f(rest)) }

// chains are handlers that do with headers.
func chains() map[string]links {
	foreign := func(content int) func(h *tarstream.Header) []byte {
		b := archive(member('0', magicPOSIX, "inserted", string(bytes.Repeat([]byte("i"), content))))
		return func(h *tarstream.Header) []byte {
			if len(h.Name)%2 == 0 {
				return nil
			}
			return b
		}
	}
	keeps := func(f func(i int, e *tarstream.Entry) bool) links {
		return func(end tarstream.Handler) tarstream.Handler {
			i := -1
			return edit{end, func(e *tarstream.Entry) bool { i++; return f(i, e) }}
		}
	}
	out := map[string]links{
		"none":        func(end tarstream.Handler) tarstream.Handler { return end },
		"keep":        keeps(func(int, *tarstream.Entry) bool { return true }),
		"times":       keeps(func(_ int, e *tarstream.Entry) bool { return zeroTimes(e) }),
		"long names":  keeps(func(_ int, e *tarstream.Entry) bool { e.Edit().Name = long; return true }),
		"record":      keeps(func(_ int, e *tarstream.Entry) bool { e.Edit().Records = map[string]string{"v": long}; return true }),
		"no edit":     keeps(func(_ int, e *tarstream.Entry) bool { e.Edit(); return true }),
		"drop all":    keeps(func(int, *tarstream.Entry) bool { return false }),
		"drop even":   keeps(func(i int, _ *tarstream.Entry) bool { return i%2 == 1 }),
		"drop odd":    keeps(func(i int, e *tarstream.Entry) bool { return i%2 == 0 && zeroTimes(e) }),
		"insert":      func(end tarstream.Handler) tarstream.Handler { return inserts{end, foreign(600), foreign(0)} },
		"insert much": func(end tarstream.Handler) tarstream.Handler { return inserts{end, nil, foreign(300 << 10)} },
		"insert and drop": func(end tarstream.Handler) tarstream.Handler {
			inserted := func(e *tarstream.Entry) bool { return e.Header().Name == "inserted" }
			return inserts{edit{end, inserted}, foreign(600), foreign(70 << 10)}
		},
	}
	for name, f := range map[string]func(rest io.Reader) io.Reader{
		"whole tail": func(rest io.Reader) io.Reader { return io.MultiReader(rest) },
		"no tail":    func(io.Reader) io.Reader { return bytes.NewReader(nil) },
		"tail of 700": func(rest io.Reader) io.Reader {
			return io.LimitReader(rest, 700)
		},
		"tail of 30000": func(rest io.Reader) io.Reader { return io.LimitReader(rest, 30000) },
		"tail without its head": func(rest io.Reader) io.Reader {
			_, _ = io.CopyN(io.Discard, rest, 700)
			return rest
		},
	} {
		out[name] = func(end tarstream.Handler) tarstream.Handler { return tails{end, f} }
	}
	out["swallowed end"] = func(end tarstream.Handler) tarstream.Handler { return entries{end} }
	return out
}

// three is a tar of three entries of different dialects, with all that can be
// cut off somewhere.
func three() []byte {
	return archive(
		append(pax("path=dir/first", "atime=5"), member('0', magicPOSIX, "first", body)...),
		append(member('L', magicGNU, "././@LongLink", long+"\x00"), member('0', magicGNU, "second", string(bytes.Repeat([]byte("2"), 1000)))...),
		member('5', magicPOSIX, "third/", ""))
}
