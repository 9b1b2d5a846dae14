package tarball

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// suffixes tell the compression of an archive from its name.
var suffixes = []struct {
	suffix string
	c      codec.Compression
}{
	{".tar.gz", codec.Gzip}, {".tgz", codec.Gzip}, {".tar.zst", codec.Zstd}, {".tzst", codec.Zstd},
}

// newSink opens tar://FILE or tar://- as a sink; nothing is written yet.
func newSink(loc pipeline.Location, cfg Config) (pipeline.Sink, error) {
	path, err := loc.FilePath()
	if err != nil {
		return nil, err
	}
	format, err := ParseFormat(loc.Query["format"])
	if err != nil {
		return nil, err
	}
	c, err := compression(path, loc.Query["compress"])
	if err != nil {
		return nil, err
	}
	mode, err := loc.Recompress()
	if err != nil {
		return nil, err
	}
	sc := SinkConfig{TempDir: cfg.TempDir, Format: format, Recompress: mode, HaveFile: loc.Query["have"], LedgerFile: loc.Query["ledger"], Events: cfg.Events}
	if format == FormatDocker && (sc.HaveFile != "" || sc.LedgerFile != "") {
		return nil, pipeline.Usage("tar:// option format=docker is an archive with all of its layers; leave out format=, or have= and ledger=")
	}
	size, err := volumeSize(loc.Query["split"])
	switch {
	case err != nil:
		return nil, err
	case size > 0 && path == stdStream:
		return nil, pipeline.Usage("tar:// option split needs a file's name; standard output is one stream")
	case size > 0:
		return newArchiveSink(path, &volumeTarget{path: path, size: size, c: c}, sc), nil
	}
	if path == stdStream {
		return newArchiveSink("standard output", &streamTarget{w: cfg.stdout(), c: c}, sc), nil
	}
	return newArchiveSink(path, &fileTarget{path: path, c: c, recorded: sc.LedgerFile != ""}, sc), nil
}

// compression is that of the whole archive.
func compression(path, option string) (codec.Compression, error) {
	switch c := codec.Compression(option); c { //nolint:exhaustive // the others cannot be written
	case "":
		for _, s := range suffixes {
			if strings.HasSuffix(strings.ToLower(path), s.suffix) {
				return s.c, nil
			}
		}
		return codec.Plain, nil
	case codec.Plain, codec.Gzip, codec.Zstd:
		return c, nil
	}
	return "", pipeline.Usage("tar:// option compress is %q; it takes gzip, zstd or none", option)
}

// leastVolume is the smallest volume, in bytes: with less a slip of the pen would
// fill a directory.
const leastVolume = 64 << 10

// volumeSize reads the option split=, a size as everywhere in Docker's options; 0
// for none.
func volumeSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n < leastVolume {
		return 0, pipeline.Usage("tar:// option split is %q; it takes the size of a volume, 64k or more, as 4g or 700MiB", s)
	}
	return n, nil
}

// streamTarget is a stream that is written in order.
type streamTarget struct {
	w   io.Writer
	c   codec.Compression
	buf *bufio.Writer
	z   io.WriteCloser
}

func (t *streamTarget) open() (medium, error) {
	if t.c == "" || t.c == codec.Plain {
		return medium{w: t.w}, nil
	}
	t.buf = bufio.NewWriterSize(t.w, bufferSize)
	z, err := codec.NewWriter(t.buf, t.c, 0)
	t.z = z
	return medium{w: z}, err
}

func (t *streamTarget) publish() error {
	if t.z == nil {
		return nil
	}
	if err := t.z.Close(); err != nil {
		return err
	}
	t.z = nil
	return t.buf.Flush()
}

func (t *streamTarget) close() error { return nil }

// fileTarget is a file that appears under its name when it is complete.
type fileTarget struct {
	path   string
	c      codec.Compression
	f      *os.File
	stream streamTarget
	final  string // the path with symbolic links followed
	temp   bool   // f has a temporary name
	// replaces: there is a file under the name already. Only then is the new one
	// forced to disk before the rename: a power cut must not take both. A new
	// archive has nothing to lose, and no other tool waits for the disk either.
	replaces bool
	// recorded: a ledger will tell of the archive. That lasts, so it has to, too.
	recorded bool
}

func (t *fileTarget) open() (medium, error) {
	if err := t.create(); err != nil {
		return medium{}, plainError(err)
	}
	if t.temp && t.c == codec.Plain {
		return medium{file: t.f}, nil
	}
	t.stream = streamTarget{w: t.f, c: t.c}
	return t.stream.open()
}

// create makes the file beside the one it will replace, so that the rename
// stays in one file system. A device or pipe is written as it is.
func (t *fileTarget) create() error {
	var err error
	if t.final, err = follow(t.path); err != nil {
		return err
	}
	info, err := os.Stat(t.final)
	switch {
	case err == nil && info.IsDir():
		return errors.New("it is a directory; name a file in it, or write dir://")
	case err == nil && !info.Mode().IsRegular():
		t.f, err = os.OpenFile(t.final, os.O_WRONLY, 0)
		return err
	}
	t.replaces = err == nil
	name := filepath.Join(filepath.Dir(t.final), ".occystrap-"+rand.Text()+".tmp")
	t.f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // less the umask, as any file that a user asks for
	t.temp = err == nil
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the directory %s is not there; make it first", filepath.Dir(t.final))
	}
	if err == nil && t.replaces {
		return t.f.Chmod(info.Mode().Perm()) // who could not read the old one cannot read the new one
	}
	return err
}

// follow is the path with its last symbolic links followed, also where they
// point at what is not there yet.
func follow(path string) (string, error) {
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // it is no link
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", errors.New("its symbolic links go round in a circle")
}

func (t *fileTarget) publish() error {
	if err := t.stream.publish(); err != nil {
		return err
	}
	if !t.temp {
		f := t.f
		t.f = nil
		return f.Close()
	}
	if t.replaces || t.recorded {
		if err := t.f.Sync(); err != nil {
			return plainError(err)
		}
	}
	if err := t.f.Close(); err != nil {
		return plainError(err)
	}
	if err := os.Rename(t.f.Name(), t.final); err != nil {
		return plainError(err)
	}
	t.f = nil
	if t.replaces || t.recorded {
		return syncDir(filepath.Dir(t.final))
	}
	return nil
}

// syncDir makes a rename last. A file system that cannot is no failure: the
// archive is there.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	_ = d.Sync()
	return d.Close()
}

func (t *fileTarget) close() error {
	if t.f == nil {
		return nil
	}
	f := t.f
	t.f = nil
	err := f.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if t.temp {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// plainError leaves the temporary name out of an error: who calls says the
// name that the user gave.
func plainError(err error) error {
	var pe *os.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}
