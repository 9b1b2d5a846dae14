package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// idleShare is how busy, 0 to 1, the machine may be when a run starts.
const idleShare = 0.10

// idleLook is over how long its business is looked at.
const idleLook = 500 * time.Millisecond

// A meter measures runs.
type meter struct {
	wait    time.Duration // how long to wait for an idle machine
	servers []int         // processes whose time is not that of others
}

// measure runs the command.
func (m meter) measure(ctx context.Context, c command) (sample, error) {
	forgetPeak()
	busy, served := machineBusy(), m.served()
	took, err := c.run(ctx)
	if err != nil {
		return sample{}, err
	}
	others := machineBusy() - busy - (m.served() - served) - took.User - took.System
	whole := took.Wall * time.Duration(runtime.NumCPU())
	return sample{usage: took, Others: min(max(float64(others)/float64(whole), 0), 1)}, nil
}

// settle writes out what is not on disk yet, and waits until the machine is idle,
// for some time at most.
func (m meter) settle(ctx context.Context) {
	syscall.Sync()
	for start := time.Now(); m.wait > 0 && time.Since(start) < m.wait; {
		busy, begun := machineBusy(), time.Now()
		select {
		case <-ctx.Done():
			return
		case <-time.After(idleLook):
		}
		whole := time.Since(begun) * time.Duration(runtime.NumCPU())
		if float64(machineBusy()-busy) < idleShare*float64(whole) {
			return
		}
	}
}

// served is the CPU time that the servers have used so far.
func (m meter) served() time.Duration {
	var sum time.Duration
	for _, pid := range m.servers {
		sum += processBusy(pid)
	}
	return sum
}

// forgetPeak makes this process small, and its peak too: the kernel counts the
// memory of the process that forks into the peak of the one that it becomes.
func forgetPeak() {
	debug.FreeOSMemory()
	const peak = "5" // see clear_refs in proc(5)
	// Where the kernel does not have it, small figures are ours, large ones right.
	_ = os.WriteFile("/proc/self/clear_refs", []byte(peak), 0)
}
