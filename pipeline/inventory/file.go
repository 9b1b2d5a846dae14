package inventory

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	// version is that of the file. One that says more than a reader knows is
	// refused: what it does not understand it would send, or worse, leave out.
	version = 1
	// maxSize bounds the file, in bytes: a layer takes about 300, so there is room
	// for 200,000.
	maxSize = 64 << 20
	// maxEntries bounds what the file lists.
	maxEntries = 1 << 20
)

// document is the file: JSON with its keys in this order, layers by digest and
// chains by ID, so that the same layers give the same bytes.
type document struct {
	Version int     `json:"occystrapInventory"`
	Layers  []entry `json:"layers"`
	Chains  []entry `json:"chains"`
}

type entry struct {
	ChainID   digest.Digest `json:"chainID,omitempty"`
	Digest    digest.Digest `json:"digest,omitempty"`
	Size      int64         `json:"size,omitempty"` // bytes
	MediaType string        `json:"mediaType,omitempty"`
	DiffID    digest.Digest `json:"diffID,omitempty"`
}

// Marshal returns the inventory as the bytes of a file.
func (i *Inventory) Marshal() ([]byte, error) {
	d := document{Version: version, Layers: []entry{}, Chains: []entry{}}
	for h := range i.All() {
		e := entry{ChainID: h.ChainID, Digest: h.Blob.Digest, Size: h.Blob.Size, MediaType: h.Blob.MediaType, DiffID: h.DiffID}
		if h.ChainID != "" {
			d.Chains = append(d.Chains, e)
		} else {
			d.Layers = append(d.Layers, e)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Parse reads the bytes of a file.
func Parse(raw []byte) (*Inventory, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("it is no inventory: %w; write one with occystrap inventory", err)
	}
	switch {
	case d.Version == 0:
		return nil, errors.New("it is no inventory: it has no occystrapInventory; write one with occystrap inventory")
	case d.Version != version:
		return nil, fmt.Errorf("it is an inventory of version %d, and this program knows version %d; write it with the program that reads it", d.Version, version)
	case len(d.Layers)+len(d.Chains) > maxEntries:
		return nil, fmt.Errorf("it lists %d layers: %w of %d", len(d.Layers)+len(d.Chains), pipeline.ErrLimit, maxEntries)
	}
	inv := &Inventory{}
	for n, e := range append(d.Layers, d.Chains...) {
		if err := e.check(n >= len(d.Layers)); err != nil {
			return nil, fmt.Errorf("entry %d: %w", n+1, err)
		}
		inv.Add(pipeline.Holding{
			Blob:   ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size},
			DiffID: e.DiffID, ChainID: e.ChainID,
		})
	}
	return inv, nil
}

func (e entry) check(chain bool) error {
	for _, d := range []digest.Digest{e.ChainID, e.Digest, e.DiffID} {
		if d == "" {
			continue
		}
		if err := d.Validate(); err != nil {
			return fmt.Errorf("digest %q: %w", d, err)
		}
	}
	switch {
	case chain != (e.ChainID != ""):
		return errors.New("layers have no chain ID, and chains have one")
	case !chain && e.Digest == "" && e.DiffID == "":
		return errors.New("it has neither digest nor diff ID")
	case e.Size < 0:
		return fmt.Errorf("its size is %d", e.Size)
	}
	return nil
}

// Read reads a file. That there is none is fs.ErrNotExist.
func Read(path string) (*Inventory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(raw) > maxSize {
		err = fmt.Errorf("it has more than %d bytes: %w", maxSize, pipeline.ErrLimit)
	}
	var inv *Inventory
	if err == nil {
		inv, err = Parse(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("read the inventory %s: %w", path, err)
	}
	return inv, nil
}

// Write puts the inventory into a file, which is the old or the new one at any
// moment, also if the machine stops.
func (i *Inventory) Write(path string) error {
	s, err := i.Stage(path)
	if err != nil {
		return err
	}
	return errors.Join(s.Publish(), s.Close())
}

// A Staged file lies under a temporary name beside its own.
type Staged struct{ temp, path string }

// Stage writes all of a file; Publish gives it its name, and Close removes what
// has not got one.
func (i *Inventory) Stage(path string) (s *Staged, err error) {
	raw, err := i.Marshal()
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	temp := filepath.Join(filepath.Dir(path), ".occystrap-"+rand.Text()+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // less the umask, as any file that a user asks for
	if err != nil {
		return nil, fmt.Errorf("write the inventory %s: %w", path, plain(err))
	}
	s = &Staged{temp, path}
	if info, serr := os.Stat(path); serr == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if err == nil {
		_, err = f.Write(raw)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("write the inventory %s: %w", path, plain(err)), s.Close())
	}
	return s, nil
}

// Publish gives the file its name.
func (s *Staged) Publish() error {
	if err := os.Rename(s.temp, s.path); err != nil {
		return fmt.Errorf("write the inventory %s: %w", s.path, plain(err))
	}
	s.temp = ""
	if d, err := os.Open(filepath.Dir(s.path)); err == nil {
		_ = d.Sync() // a file system that cannot is no failure: the file is there
		_ = d.Close()
	}
	return nil
}

// Close removes a file that was not published.
func (s *Staged) Close() error {
	if s.temp == "" {
		return nil
	}
	temp := s.temp
	s.temp = ""
	return os.Remove(temp)
}

// plain leaves the temporary name out of an error.
func plain(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
