package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeBackStep is after how many bytes the kernel is asked to begin writing, so that
// the sync at the end has little left to wait for.
const writeBackStep = 8 << 20

// writeBack begins to write what came, whenever a step is full.
func writeBack(f *os.File, at, n int64) {
	if from, to := at/writeBackStep, (at+n)/writeBackStep; from != to {
		// A hint: what it does not do, the sync does.
		_ = unix.SyncFileRange(int(f.Fd()), from*writeBackStep, (to-from)*writeBackStep, unix.SYNC_FILE_RANGE_WRITE)
	}
}
