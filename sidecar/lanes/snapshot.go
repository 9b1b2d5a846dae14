package lanes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"time"
)

// containerd locks its database for as long as it runs, so bbolt cannot open it
// beside it. But a bbolt file is only ever changed by copying: transaction N+1
// writes to pages that transaction N does not reach, and only N+2 may use again
// what N+1 has freed (bbolt, DB.beginRWTx and freePages). So a copy during which
// N stayed the newest transaction has all of N, whatever was being written.

const (
	// copyTime is how long a copy of a database that changes is begun anew. A copy
	// takes some milliseconds, as a transaction does.
	copyTime = 20 * time.Second
	// mostBytes is more than any containerd's database has.
	mostBytes = 1 << 30
)

// errBusy is a database that changes faster than it can be copied.
var errBusy = errors.New("it changes all the time; try again")

// snapshot copies the database into a file of its own, in memory, and says of
// which transaction it is. The caller closes it.
func snapshot(ctx context.Context, f *os.File) (*os.File, uint64, error) {
	image, err := memoryFile()
	if err != nil {
		return nil, 0, fmt.Errorf("make room for a copy: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, copyTime, errBusy)
	defer cancel()
	for ctx.Err() == nil {
		before, err := newest(f)
		if err == nil {
			err = copyInto(image, f, before.bytes)
		}
		if err != nil {
			return nil, 0, errors.Join(err, image.Close())
		}
		if after, err := newest(f); err == nil && after == before {
			return image, before.transaction, nil
		}
	}
	return nil, 0, errors.Join(context.Cause(ctx), image.Close())
}

// copyInto makes image the first size bytes of f.
func copyInto(image, f *os.File, size int64) error {
	if size > mostBytes {
		return fmt.Errorf("it has %d bytes, more than the %d that are read", size, int64(mostBytes))
	}
	if err := image.Truncate(0); err != nil {
		return err
	}
	if _, err := image.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(image, io.NewSectionReader(f, 0, size))
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%w: %d of %d bytes", io.ErrUnexpectedEOF, n, size)
	}
	return nil
}

// A state is what the newest transaction of a database left.
type state struct {
	transaction uint64
	bytes       int64 // used pages
}

// Of bbolt's meta pages (internal/common/meta.go and page.go), of which there
// are two, written in turn.
const (
	pageHeader   = 16
	metaSize     = 64
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	smallestPage = 1 << 10
	largestPage  = 64 << 10
)

// newest reads the state of the newest transaction that was written whole.
func newest(f io.ReaderAt) (state, error) {
	var best state
	// The second page's place follows from the page size, which the first one
	// says, unless it is the one that is being written.
	sizes := []int64{4 << 10, 8 << 10, 16 << 10, 64 << 10} //nolint:mnd // of all machines
	if s, size, ok := meta(f, 0); ok {
		best, sizes = s, []int64{size}
	}
	for _, at := range sizes {
		if s, size, ok := meta(f, at); ok && size == at {
			if s.transaction > best.transaction {
				best = s
			}
			break
		}
	}
	if best.bytes == 0 {
		return best, errors.New("it is no bbolt database")
	}
	return best, nil
}

// meta reads the meta page at an offset, if there is a whole one.
func meta(f io.ReaderAt, at int64) (s state, pageSize int64, ok bool) {
	var raw [metaSize]byte
	if _, err := f.ReadAt(raw[:], at+pageHeader); err != nil {
		return s, 0, false
	}
	e := binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(raw[:metaSize-8])
	pageSize = int64(e.Uint32(raw[8:]))
	if e.Uint32(raw[0:]) != metaMagic || e.Uint32(raw[4:]) != metaVersion || e.Uint64(raw[metaSize-8:]) != sum.Sum64() ||
		pageSize < smallestPage || pageSize > largestPage {
		return s, 0, false
	}
	pages := e.Uint64(raw[40:])
	if pages > uint64(mostBytes) { // so that the product is small
		return s, 0, false
	}
	return state{transaction: e.Uint64(raw[48:]), bytes: int64(pages) * pageSize}, pageSize, true
}
