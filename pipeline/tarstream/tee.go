package tarstream

import "io"

// Tee shows w the content of the entry, as it is stored, while the handlers
// after this one pass it on. Once they have returned, Drain shows the rest:
// whoever calls Tee calls Drain. Content that a handler takes by Read is not
// shown.
func (e *Entry) Tee(w io.Writer) { e.tees = append(e.tees, tee{w, e.size}) }

// Drain reads what is left of the entry.
func (e *Entry) Drain() error { return e.copyTo(io.Discard) }

// A tee sees an entry's content go by, up to an end.
type tee struct {
	w   io.Writer
	end int64
}

// shown is w, and the writers of Tee before it.
func (e *Entry) shown(w io.Writer) io.Writer {
	if len(e.tees) == 0 {
		return w
	}
	return &teed{e: e, next: w}
}

// teed shows what goes to next.
type teed struct {
	e    *Entry
	next io.Writer
}

func (t *teed) Write(p []byte) (int, error) {
	for _, to := range t.e.tees {
		some := p[:min(int64(len(p)), max(0, to.end-t.e.read))]
		if _, err := to.w.Write(some); err != nil {
			return 0, err
		}
	}
	return t.next.Write(p)
}
