package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxSocket is how long the path of a socket may be: unix(7), sun_path.
const maxSocket = 107

// shorter is a name for a socket that is not too long for the system: by a descriptor of
// its directory. done is called when the name is not needed any more.
func shorter(path string) (short string, done func()) {
	if len(path) <= maxSocket {
		return path, func() {}
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return path, func() {} // which fails with a better error
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(path)), func() { _ = d.Close() }
}
