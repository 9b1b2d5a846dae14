package tarball

import (
	"io"
	"os"

	"github.com/occystrap/occystrap/pipeline"
)

// bufferSize is how much is read or written at once: large enough that system
// calls do not count, small enough for several at once.
const bufferSize = 256 << 10

// stdStream is the path that stands for standard input or output.
const stdStream = "-"

// Config is what the ends of the scheme take from the program. The zero value
// works.
type Config struct {
	// TempDir holds temporary files; "" is the system's.
	TempDir string
	// Stdin and Stdout are what tar://- reads and writes; nil is the process's.
	Stdin  io.Reader
	Stdout io.Writer
	// Events receives what a user of the sink should know. A source tells the
	// events of its query.
	Events pipeline.Events
}

func (c Config) stdin() io.Reader {
	if c.Stdin == nil {
		return os.Stdin
	}
	return c.Stdin
}

func (c Config) stdout() io.Writer {
	if c.Stdout == nil {
		return os.Stdout
	}
	return c.Stdout
}

// Scheme is tar://FILE, with the alias file://.
func Scheme(cfg Config) pipeline.Scheme {
	return pipeline.Scheme{
		Name:    "tar",
		Aliases: []string{"file"},
		Options: []pipeline.Option{
			{Name: "image", Source: true, Help: "the image of the archive to take: a name, a digest, or all (default)"},
			{Name: "format", Sink: true, Help: "auto (OCI layout and manifest.json, default), docker (plain docker save) or oci"},
			{Name: "compress", Sink: true, Help: "compress the whole archive: gzip, zstd or none (default: by the file's name)"},
			{Name: "have", Sink: true, Help: "leave out the layers that this inventory of the destination lists (occystrap inventory)"},
			{Name: "ledger", Sink: true, Help: "leave out the layers that this file records as sent, and record those of the archive"},
			{Name: "split", Sink: true, Help: "write volumes of this size, FILE.001 and so on, and SHA256SUMS: 4g, 700MiB"},
			pipeline.RecompressOption,
		},
		Source: func(loc pipeline.Location) (pipeline.Source, error) {
			path, err := loc.FilePath()
			if err != nil {
				return nil, err
			}
			return &source{path: path, image: loc.Query["image"], cfg: cfg}, nil
		},
		Sink: func(loc pipeline.Location) (pipeline.Sink, error) { return newSink(loc, cfg) },
		Inventor: func(loc pipeline.Location) (pipeline.Inventor, error) {
			path, err := loc.FilePath()
			if err != nil {
				return nil, err
			}
			return pipeline.Inventoried{Source: &source{path: path, cfg: cfg}}, nil
		},
	}
}
