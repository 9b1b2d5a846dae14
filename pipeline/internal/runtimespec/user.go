package runtimespec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"syscall"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxUserFile is the largest passwd or group file that is read. Those of whole
// universities are smaller.
const maxUserFile = 16 << 20

// Files opens a file of the image as its container would see it.
type Files interface {
	Open(name string) (*os.File, error)
}

// UserOf finds user and groups for the User of an image's config: "", a name or
// a number, alone or with a group. The image's own files decide, as in Docker: a
// user without a group gets all groups that he is in (image-spec, config.md).
func UserOf(f Files, who string) (u specs.User, err error) {
	passwd, err := openUserFile(f, "etc/passwd")
	if err != nil {
		return u, err
	}
	defer passwd.Close()
	group, err := openUserFile(f, "etc/group")
	if err != nil {
		return u, err
	}
	defer group.Close()
	found, err := user.GetExecUser(who, nil, passwd, group)
	if err != nil {
		return u, fmt.Errorf("find the image's user %q: %w (-f config:user=0 chooses another)", who, err)
	}
	// The own group is one of them, or its members could get around what is
	// forbidden to it (CVE-2022-36109).
	ids := append([]int{found.Uid, found.Gid, found.Gid}, found.Sgids...)
	slices.Sort(ids[2:])
	var out []uint32
	for _, id := range ids {
		if id < 0 || id >= math.MaxUint32 { // the last one means "no change"
			return u, fmt.Errorf("the image's user %q has the number %d, which is none (-f config:user=0 chooses another)", who, id)
		}
		out = append(out, uint32(id))
	}
	u.UID, u.GID, u.AdditionalGids = out[0], out[1], slices.Compact(out[2:])
	return u, nil
}

// openUserFile opens a file of users; what is not there is empty.
func openUserFile(f Files, name string) (io.ReadCloser, error) {
	file, err := f.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return emptyFile{}, nil
	case err != nil:
		return nil, fmt.Errorf("read the image's %s: %w", name, err)
	}
	info, err := file.Stat()
	if err == nil && info.Size() > maxUserFile {
		err = fmt.Errorf("it has %d bytes, more than %d", info.Size(), maxUserFile)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the image's %s: %w", name, err), file.Close())
	}
	return file, nil
}

type emptyFile struct{}

func (emptyFile) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyFile) Close() error             { return nil }
