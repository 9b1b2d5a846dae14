package sidecar

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is what goes with RELOADING=1 (sd_notify(3)).
func monotonic() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return ""
	}
	return fmt.Sprintf("\nMONOTONIC_USEC=%d", time.Duration(now.Nano()).Microseconds())
}
