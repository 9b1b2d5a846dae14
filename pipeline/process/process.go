// Package process names a process in such a way that a later one can tell
// whether it has ended.
//
//	Name ─▶ a lease's label, a temporary tag, a file's name ─▶ Ended, in the next run
//
// A run that is killed cannot tidy up. What it leaves behind bears its name, and
// whoever comes next removes what belongs to the dead, and nothing else: of
// processes of other machines and containers nobody knows, and they are left
// alone.
package process

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Name is this process, told from all others: those before the machine was
// restarted and those of other containers included. It has at most 90 bytes, all
// of which may stand in a tag, a file name and a label.
func Name() string { return self().String() }

// Ended says whether the process that bears a Name has ended, for sure. It is
// false for what is no Name, and for all that cannot be known from here.
func Ended(name string) bool {
	other, err := parse(name)
	if err != nil {
		return false
	}
	me := self()
	return me.machine != "" && me.machine == other.machine && system{proc}.ended(other)
}

// An identity is what a Name says.
type identity struct {
	// machine is this start of the machine, the PID namespace, in which numbers
	// count, and the time namespace, which shifts when a process started; "" where
	// that cannot be known.
	machine string
	pid     int
	started string // in ticks since the machine started
}

// nowhere stands for a machine that is not known.
const nowhere = "unknown"

func (i identity) String() string {
	if i.machine == "" {
		return fmt.Sprintf("%s.%d.0", nowhere, i.pid)
	}
	return fmt.Sprintf("%s.%d.%s", i.machine, i.pid, i.started)
}

// parse reads a Name.
func parse(name string) (identity, error) {
	const least = 3 // fields
	fields := strings.Split(name, ".")
	n := len(fields)
	if n < least || fields[0] == nowhere {
		return identity{}, fmt.Errorf("read the name of a process: %q is none", name)
	}
	pid, err := strconv.ParseInt(fields[n-2], 10, 32)
	if err != nil || pid <= 0 {
		return identity{}, fmt.Errorf("read the name of a process: %q has no number", name)
	}
	return identity{machine: strings.Join(fields[:n-2], "."), pid: int(pid), started: fields[n-1]}, nil
}

// self is asked for once: nothing of it changes while the process lives.
var self = sync.OnceValue(func() identity { return system{proc}.self() })

// proc is where the kernel tells of processes.
const proc = "/proc"

// A system is where processes are looked up.
type system struct{ proc string }
