//go:build unix

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Try locks an open file or directory until Unlock; false says that
// another one has it.
func Try(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		}
		return err == nil, err
	}
}

// Unlock gives a lock back and closes its file. To close alone is not enough: a
// child of ours that has not called exec yet would keep the lock until then.
func Unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
