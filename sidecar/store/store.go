package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// lowShare is the low mark without one: that share of the high mark, in percent.
	lowShare = 80
	// private keeps the store from other users: what is in it may be secret.
	private = 0o700
)

// Options are those of a store; the zero value is bounded by nothing.
type Options struct {
	// High is how many bytes the store has on disk before images are removed; 0 is no
	// bound. What is pinned or in use stays even so.
	High int64
	// Low is what is left then; 0 stands for 80 % of High.
	Low int64
	// Age is for how long an image that nobody uses is kept; 0 is for ever. A space
	// may have another one.
	Age time.Duration
	// Pending is for how long a blob is kept that no manifest names, and an upload that
	// nobody writes to; 0 is a day.
	Pending time.Duration
	// Now is the clock; nil is time.Now. Ages are told by it.
	Now func() time.Time
	// Log is told what was removed in the background, and why something could not be;
	// nil discards it.
	Log *slog.Logger
}

// A Store is a directory with images. Its methods may be called at once by many
// goroutines. One process has it open; others ask that one (Connect).
type Store struct {
	dir string
	o   Options

	durable, cache *base
	files          *files
	uploads        *uploads
	manifests      *manifestCache
	uses           *uses
	maxNotes       int // of a repository

	mu     sync.Mutex
	spaces map[string]*Space

	// making is held for reading while a blob is put in place and recorded, and for
	// writing while it is decided that one is not needed. No bytes move meanwhile.
	making sync.RWMutex
	// collecting is held by who removes: one at a time.
	collecting sync.Mutex
	sweeping   sync.Mutex
	// bytes is what is on disk, as far as is known without looking.
	bytes atomic.Int64
	// trigger is how many bytes have the worker collect.
	trigger atomic.Int64

	// placed are blobs that came while sweep looks; nil while it does not.
	placedMu sync.Mutex
	placed   map[digest.Digest]bool

	// snapping guards what is known of the last snapshot: its transaction, and whether
	// blobs came before a crash that may not be synced.
	snapping sync.Mutex
	snapped  int
	lost     bool
	// crashed says that the last process left things to put right.
	crashed bool

	control *control
	work    *worker
	closed  atomic.Bool
}

// ErrLocked is the error of Open where another process has the store open.
var ErrLocked = errors.New("another process has the store open")

// Open opens the store in a directory, which is made if need be. After a crash it puts
// things right, partly in the background. The caller closes it.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	o = o.normal()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, uploadsDir), filepath.Join(dir, blobsDir, "sha256"), filepath.Join(dir, blobsDir, "sha512")} {
		if err := os.MkdirAll(d, private); err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
	}
	s := &Store{dir: dir, o: o, spaces: map[string]*Space{}, manifests: newManifestCache(), uses: newUses(), maxNotes: maxNotes, snapped: -1}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.closeAll(ctx))
	}
	s.trigger.Store(o.High)
	s.keepReserve()
	s.work = s.start(ctx)
	if s.control, err = s.listen(ctx); err != nil {
		s.log("be asked by other processes", err) // and serves its own
	}
	return s, nil
}

// normal fills in what was left out.
func (o Options) normal() Options {
	if o.Low <= 0 || o.Low > o.High {
		o.Low = o.High / 100 * lowShare
	}
	if o.Pending <= 0 {
		o.Pending = pendingAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// open opens the databases, and puts right what a crash left.
func (s *Store) open(ctx context.Context) (err error) {
	s.files = newFiles(s.dir)
	s.uploads = newUploads(filepath.Join(s.dir, uploadsDir))
	if s.durable, err = openBase(ctx, filepath.Join(s.dir, durableName), s.files, true); err != nil {
		return err
	}
	return s.begin(ctx)
}

// Close writes down what is only in memory and gives the store to others.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.closeAll(context.Background())
}

func (s *Store) closeAll(ctx context.Context) error {
	var errs []error
	if s.control != nil {
		errs = append(errs, s.control.close())
	}
	if s.work != nil {
		s.work.stop()
	}
	if s.cache != nil {
		errs = append(errs, s.flush(ctx), s.end())
	}
	if s.uploads != nil {
		s.uploads.close()
	}
	for _, b := range []*base{s.cache, s.durable} {
		if b != nil {
			errs = append(errs, b.close())
		}
	}
	return errors.Join(errs...)
}

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }
