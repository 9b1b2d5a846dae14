package graphdriver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math"

	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/storage"
)

// A layer is where one layer lies in a store.
type layer struct {
	store   *Store
	diffID  digest.Digest
	at      string // its folder in the layer database
	cacheID string // the folder of its contents
}

// splitName is the file that has all of a layer's tar but contents.
const splitName = "tar-split.json.gz"

// size is how long the layer's tar is. No file of it is opened.
func (l *layer) size(ctx context.Context) (int64, error) {
	s, err := openSplit(l.store.images, l.at+"/"+splitName)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	var sum int64
	for {
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
		n := e.size
		if !e.file {
			n = e.length()
		}
		if n < 0 || sum > math.MaxInt64-n {
			return 0, fmt.Errorf("%s says that %q has %d bytes: the store is damaged", splitName, e.name, n)
		}
		sum += n
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
}

// assemble opens the layer.
func (l *layer) assemble() (*assembly, error) {
	s, err := openSplit(l.store.images, l.at+"/"+splitName)
	if err != nil {
		return nil, err
	}
	t, err := openTree(l.store.layers, l.cacheID+"/diff")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &assembly{split: s, tree: t}, nil
}

// damaged finds the first file that is not what it was when the layer was stored,
// by the sums that tar-split keeps; "" for none. It is asked when the layer as a
// whole was found to be wrong: to compute both sums always would cost a third more.
func (l *layer) damaged() string {
	a, err := l.assemble()
	if err != nil {
		return ""
	}
	defer a.Close()
	sum := crc64.New(storage.CRCTable)
	buf := make([]byte, chunkSize)
	for {
		e, err := a.split.next()
		if err != nil {
			return ""
		}
		if !e.file || e.size == 0 {
			continue
		}
		if err := a.start(e); err != nil {
			return e.name
		}
		sum.Reset()
		for a.left > 0 {
			n, err := a.fromFile(buf)
			if err != nil {
				return e.name
			}
			_, _ = sum.Write(buf[:n]) // a hash never fails
		}
		if want, err := e.bytes(); err != nil || !bytes.Equal(sum.Sum(nil), want) {
			return e.name
		}
	}
}
