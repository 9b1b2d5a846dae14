package zstdframe

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// output writes frames: copied ones, and new ones for what is between them.
type output struct {
	dst    io.Writer
	hash   io.Writer // of the plain bytes
	level  int
	stored int64
	plain  int64

	partial  *frame // copied in part; the rest may follow
	enc      *zstd.Encoder
	encoding bool // a new frame is open
}

// Write counts what goes to dst.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.dst.Write(p)
	o.stored += int64(n)
	return n, err
}

// copy writes stored bytes of f.
func (o *output) copy(f *frame, stored []byte) error {
	if o.partial != f {
		if err := o.boundary(); err != nil {
			return err
		}
		o.partial = f
	}
	_, err := o.Write(stored)
	return err
}

// copied hashes the plain bytes of what copy wrote.
func (o *output) copied(f *frame, plain []byte) error {
	o.plain += int64(len(plain))
	if f.summed && !f.sized {
		f.sum.write(plain)
	}
	_, err := o.hash.Write(plain)
	return err
}

// anew compresses plain bytes.
func (o *output) anew(plain []byte) error {
	if len(plain) == 0 {
		return nil
	}
	if !o.encoding {
		if err := o.boundary(); err != nil {
			return err
		}
		if err := o.open(); err != nil {
			return err
		}
	}
	o.plain += int64(len(plain))
	if _, err := o.hash.Write(plain); err != nil {
		return err
	}
	_, err := o.enc.Write(plain)
	return err
}

// open begins a new frame, with the options of codec.NewWriter: one goroutine
// makes the output depend on the input alone.
func (o *output) open() (err error) {
	o.encoding = true
	if o.enc != nil {
		o.enc.Reset(o)
		return nil
	}
	level := cmp.Or(o.level, defaultLevel)
	o.enc, err = zstd.NewWriter(o, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithZeroFrames(true))
	return err
}

// boundary ends the frame that is being written.
func (o *output) boundary() error {
	if o.encoding {
		o.encoding = false
		return o.enc.Close()
	}
	f := o.partial
	if f == nil {
		return nil
	}
	o.partial = nil
	if f.sized || f.skippable {
		return errors.New("zstdframe: a frame was left incomplete") // a bug of ours
	}
	// An empty Raw_Block with Last_Block set, and the checksum of what the frame
	// has now (RFC 8878, 3.1.1).
	end := []byte{1, 0, 0}
	if f.summed {
		end = binary.LittleEndian.AppendUint32(end, uint32(f.sum.sum()))
	}
	_, err := o.Write(end)
	return err
}

// close ends the stream. If nothing is left of it, an empty frame still says
// that it is one.
func (o *output) close(changed bool) error {
	if changed && o.stored == 0 && !o.encoding {
		if err := o.open(); err != nil {
			return err
		}
	}
	return o.boundary()
}
