package pipeline

import "fmt"

// Storing is how layers are to be stored, changed or not, in place of what the
// destination would do. The zero value leaves that to the destination. A
// destination that can only hold plain layers holds plain ones all the same.
type Storing struct {
	// Compression is gzip or zstd; "" asks for nothing.
	Compression Compression
	// Level is the compressor's. With one, layers that have the compression already
	// are compressed anew: nobody can tell the level that they were made with. 0
	// is the default level, for those layers only that have another compression.
	Level int
}

// key is the part of a recipe that says how layers are stored.
func (s Storing) key() string {
	if s.Level == 0 {
		return "store=" + string(s.Compression)
	}
	return fmt.Sprintf("store=%s,level=%d", s.Compression, s.Level)
}

// storing puts what the user wants of a layer's compression in the place of the
// sink's plan. What the layer claims to be decides whether the sink may be
// believed that it holds it: a layer that becomes another one is not held.
func (t *transfer) storing(plan Plan) Plan {
	want := t.run.opts.Storing
	switch {
	case want.Compression == "", t.layer.Role == Opaque:
		return plan
	case plan.Encoding.Compression == Plain:
		t.run.onlyPlain.Do(func() {
			t.run.opts.Events.Warn(fmt.Sprintf("the destination stores layers plain, so none is compressed with %s", want.Compression))
		})
		return plan
	}
	plan.Encoding.Compression, plan.Encoding.Level, plan.Encoding.Anew = want.Compression, want.Level, want.Level != 0
	plan.Held = plan.Held && !t.recodes()
	return plan
}

// recodes says whether the user wants the layer stored otherwise than it claims
// to come.
func (t *transfer) recodes() bool {
	want := t.run.opts.Storing
	return want.Compression != "" && t.layer.Role != Opaque && (want.Level != 0 || LayerCompression(t.layer.Blob.MediaType) != want.Compression)
}

// recoded is what a sink is asked about such a layer: a daemon may not read what
// it becomes, and nothing is to be mounted, since the destination would then have
// what nothing refers to.
func (t *transfer) recoded(l Layer) Layer {
	c := t.run.opts.Storing.Compression
	l.Origin, l.Blob.MediaType = "", layerType(dockerFamily(l.Blob.MediaType) && c != Zstd, c)
	return l
}
