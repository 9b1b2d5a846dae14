package tarball

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// A volumeSet is an archive in volumes that is read. What is wrong with one of
// them is told by its name.
type volumeSet struct {
	base  string // name of the archive, without directory
	files []*os.File
	size  int64 // of each but the last, in bytes
	total int64
	sums  map[string]string // by name; empty where no SHA256SUMS lists them
}

var _ io.ReaderAt = (*volumeSet)(nil)

// volumesOf lists the volumes of an archive that lie beside its name.
func volumesOf(path string) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if isVolume(filepath.Base(path), e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// findVolumes says which volumes a path stands for: FILE, where there is none of
// that name, or any of FILE.001 and so on. Nil: it is an archive in one piece.
func findVolumes(path string) (base string, names []string, err error) {
	if at := len(path) - len(".001"); at > 0 && volumeNumber.MatchString(path[at+1:]) && path[at] == '.' {
		names, err := volumesOf(path[:at])
		if _, serr := os.Stat(path); serr == nil && !slices.Contains(names, filepath.Base(volumeName(path[:at], 1))) {
			return "", nil, err // its name ends in a number, and that is all
		}
		if len(names) > 0 || err != nil {
			return path[:at], names, err
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	names, err = volumesOf(path)
	return path, names, err
}

// openVolumes opens the volumes of an archive and looks whether all are there.
func openVolumes(path string, names []string) (s *volumeSet, err error) {
	dir := filepath.Dir(path)
	s = &volumeSet{base: filepath.Base(path)}
	listed, err := readSums(dir)
	if err != nil {
		return nil, err
	}
	s.sums = listed.of(s.base)
	if err := s.complete(names); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", name, plainError(err))
		}
		s.files = append(s.files, f)
	}
	return s, s.measure()
}

// complete compares the names that there are with those that should be.
func (s *volumeSet) complete(names []string) error {
	last := 0
	for _, name := range append(slices.Clone(names), sortedNames(s.sums)...) {
		var n int
		if _, err := fmt.Sscanf(name[len(name)-3:], "%d", &n); err != nil {
			return err
		}
		last = max(last, n)
	}
	var missing []string
	for n := 1; n <= last; n++ {
		name := volumeName(s.base, n)
		if !slices.Contains(names, name) {
			missing = append(missing, name)
		} else if s.sums[name] == "" && len(s.sums) > 0 {
			return fmt.Errorf("volume %s does not belong to it: %s lists %d volumes, and this one is left from another archive; remove it", name, sumsName, len(s.sums))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("of its %d volumes %s is missing: %w; copy it here too", last, strings.Join(missing, ", "), pipeline.ErrNotFound)
	}
	return nil
}

func sortedNames(sums map[string]string) (names []string) {
	for name := range sums {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// measure learns the sizes. All but the last volume have the same.
func (s *volumeSet) measure() error {
	sizes := make([]int64, len(s.files))
	for i, f := range s.files {
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("it is no file")
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", filepath.Base(f.Name()), err)
		}
		sizes[i] = info.Size()
		s.total += info.Size()
	}
	s.size = max(slices.Max(sizes), 1)
	for i, n := range sizes {
		if last := i == len(sizes)-1; n != s.size && !last || n == 0 {
			return fmt.Errorf("volume %s has %d bytes and should have %d: %w; it is cut short, copy it again", filepath.Base(s.files[i].Name()), n, s.size, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// ReadAt reads from the whole.
func (s *volumeSet) ReadAt(p []byte, off int64) (n int, err error) {
	for len(p) > 0 {
		i := off / s.size
		if i >= int64(len(s.files)) {
			return n, io.EOF
		}
		m, err := s.files[i].ReadAt(p[:min(int64(len(p)), s.size-off%s.size)], off%s.size)
		n += m
		p, off = p[m:], off+int64(m)
		if err != nil && (!errors.Is(err, io.EOF) || off%s.size != 0) {
			return n, err
		}
	}
	return n, nil
}

// Close closes the volumes.
func (s *volumeSet) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// blame finds the volume that an error in these bytes comes from, by the sums;
// without any it names those that the bytes lie in.
func (s *volumeSet) blame(off, n int64) error {
	first, last := off/s.size, (off+max(n, 1)-1)/s.size
	var suspects []string
	for i := first; i <= last && i < int64(len(s.files)); i++ {
		f := s.files[i]
		name := filepath.Base(f.Name())
		want := s.sums[name]
		if want == "" {
			suspects = append(suspects, name)
			continue
		}
		sum, err := hashFile(f)
		if err != nil {
			return fmt.Errorf("volume %s: %w", name, plainError(err))
		}
		if got := hex.EncodeToString(sum); got != want {
			return s.accuse(name, got)
		}
	}
	if len(suspects) > 0 {
		return fmt.Errorf("it lies in volume %s, which may be damaged or another one's content; there is no %s that would tell", strings.Join(suspects, ", "), sumsName)
	}
	return nil
}

// check compares all volumes with their sums, where there are any.
func (s *volumeSet) check() error {
	if len(s.sums) == 0 {
		return nil
	}
	return s.blame(0, s.total)
}

func (s *volumeSet) accuse(name, got string) error {
	for other, sum := range s.sums {
		if sum == got && other != name {
			return fmt.Errorf("volume %s has the content of %s; give both the names they had", name, other)
		}
	}
	return fmt.Errorf("volume %s is damaged: %s says otherwise; copy it again", name, sumsName)
}

// blaming adds to an error which volume it comes from.
func (s *volumeSet) blaming(err error, off, n int64) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if of := s.blame(off, n); of != nil {
		return fmt.Errorf("%w (%w)", err, of)
	}
	return err
}
