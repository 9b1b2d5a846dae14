//go:build !linux

package daemon

import (
	"context"
	"errors"
)

// peer knows nothing here.
func peer(context.Context, string) (int, error) { return 0, errors.ErrUnsupported }

// kernelRelease is one that no daemon has: here daemons run in a VM.
func kernelRelease() string { return "of another system" }
