package filecopy

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Range copies up to n bytes at srcOff of src to dstOff of dst, and says how many;
// 0 at the end of src. The offsets of the files themselves stay. An error may mean
// no more than that these two files cannot be copied this way: other file systems,
// an old kernel, a sandbox.
func Range(dst *os.File, dstOff int64, src *os.File, srcOff, n int64) (int64, error) {
	const most = 1 << 30 // the kernel itself takes 2 GiB at most
	defer runtime.KeepAlive(dst)
	defer runtime.KeepAlive(src)
	for {
		done, err := unix.CopyFileRange(int(src.Fd()), &srcOff, int(dst.Fd()), &dstOff, int(min(n, most)), 0)
		if !errors.Is(err, unix.EINTR) {
			return int64(max(done, 0)), err
		}
	}
}
