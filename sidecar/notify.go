package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A notifier tells systemd how the daemon is; without systemd it tells nobody.
type notifier struct{ log *slog.Logger }

// tell sends a state as sd_notify(3) has them.
func (n notifier) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("could not tell systemd", "state", state, "error", err)
	}
}

// status is what "systemctl status" shows.
func (n notifier) status(format string, args ...any) {
	n.tell("STATUS=" + fmt.Sprintf(format, args...))
}

// watch answers systemd's watchdog (WatchdogSec=) until ctx ends, each time only
// if alive finds that requests are answered: a daemon that hangs is then
// restarted.
func (n notifier) watch(ctx context.Context, alive func(context.Context) error) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("systemd's watchdog is not answered", "error", err)
		return
	}
	if every <= 0 {
		return
	}
	every /= 2 // as sd_watchdog_enabled(3) recommends
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		in, cancel := context.WithTimeout(ctx, every)
		err := alive(in)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Error("the sidecar does not answer itself; systemd will restart it", "error", err)
		default:
			n.tell(daemon.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// breathing is for how long systemd is asked to wait each time, and half of it how
// often.
const breathing = 30 * time.Second

// extend has systemd wait while a daemon finishes what it has begun, until stop is
// called or for all of drain.
func (n notifier) extend(drain time.Duration) (stop func()) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	more := func() { n.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", breathing.Microseconds())) }
	more()
	go func() {
		tick := time.NewTicker(breathing / 2)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				more()
			case <-ctx.Done():
				return
			}
		}
	}()
	return cancel
}
