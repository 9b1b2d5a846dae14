// Package filelock keeps programs that share files out of each other's way. A
// lock ends with its file, so a program that is killed leaves none behind.
package filelock

import (
	"context"
	"os"
	"time"
)

// pause is how long a lock that another program holds is left alone before it is
// tried again.
const pause = 20 * time.Millisecond

// Wait calls try until it has the lock, fails, or ctx ends. The file that is
// returned goes to Unlock.
func Wait(ctx context.Context, try func() (*os.File, bool, error)) (*os.File, error) {
	for {
		f, got, err := try()
		if err != nil || got {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}
