package filter

import (
	"fmt"
	"io"
	"os"

	"github.com/occystrap/occystrap/pipeline/internal/spool"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// contents are entries put aside in a temporary file, as they were stored, for
// the hard links that will need them. Nil holds none.
type contents struct {
	file   *os.File
	dir    string // for messages
	name   string // while the file has one
	size   int64
	pieces map[int64]section // by where the link's entry starts
}

// A section is one entry's place in the file.
type section struct{ at, size int64 }

// newContents makes the file. It loses its name at once where the system
// allows that, so that nothing is left behind however the run ends.
func newContents(dir string) (*contents, error) {
	f, err := os.CreateTemp(dir, "occystrap-links-*")
	if err != nil {
		return nil, spool.Explain(dir, err)
	}
	c := &contents{file: f, dir: dir, pieces: map[int64]section{}}
	if os.Remove(f.Name()) != nil {
		c.name = f.Name()
	}
	return c, nil
}

// fill copies the entries that the wants lead to, one pass for each layer that
// holds some.
func (c *contents) fill(layers []opener, wants []*want) error {
	for i, open := range layers {
		at := map[int64][]*want{}
		for _, w := range wants {
			if w.target.known && w.layer == i {
				at[w.target.offset] = append(at[w.target.offset], w)
			}
		}
		if len(at) == 0 {
			continue
		}
		err := scan(open, func(e *tarstream.Entry) error {
			ws := at[e.Offset()]
			if ws == nil {
				return nil
			}
			s := section{at: c.size}
			if err := tarstream.NewWriter(c).Entry(e); err != nil {
				return fmt.Errorf("put aside %q: %w", e.Header().Name, err)
			}
			s.size = c.size - s.at
			for _, w := range ws {
				c.pieces[w.link] = s
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Write appends to the file.
func (c *contents) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	c.size += int64(n)
	if err != nil {
		err = spool.Explain(c.dir, err)
	}
	return n, err
}

// entry shows the entry that the link at an offset needs to use, and says
// whether there is one.
func (c *contents) entry(link int64, use visitor) (found bool, err error) {
	s, ok := c.pieces[link]
	if !ok {
		return false, nil
	}
	return true, tarstream.Read(io.NewSectionReader(c.file, s.at, s.size), 0, use)
}

// close gives the disk space back; again and again is harmless. Where a layer
// is given up between two entries, the garbage collector closes the file.
func (c *contents) close() {
	if c == nil {
		return
	}
	_ = c.file.Close() // only read from: nothing can be lost
	if c.name != "" {
		_ = os.Remove(c.name)
		c.name = ""
	}
}
