package content

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A process is told from all others, those before the machine was restarted
// and those of other containers included.
type process struct {
	machine string // this start of the machine, and the PID namespace
	pid     int
	started string // in ticks since the machine started
}

// thisProcess is the one that asks. Where there is no /proc it outlives none.
func thisProcess() process {
	p := process{pid: os.Getpid()}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return p
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return p
	}
	p.machine = strings.TrimSpace(string(boot)) + "/" + pids
	p.started, _ = startOf(p.pid)
	return p
}

// String is the process as outlived reads it.
func (p process) String() string { return fmt.Sprintf("%s %d %s", p.machine, p.pid, p.started) }

// outlived says whether the process that another program's String names has
// ended, for sure: of other machines and containers nobody knows.
func (p process) outlived(other string) bool {
	var o process
	if n, err := fmt.Sscanf(other, "%s %d %s", &o.machine, &o.pid, &o.started); n != 3 || err != nil { //nolint:mnd // the three fields of String
		return false
	}
	if p.machine == "" || o.machine != p.machine {
		return false
	}
	started, err := startOf(o.pid)
	return errors.Is(err, fs.ErrNotExist) || err == nil && started != o.started
}

// startOf is when a process started: proc_pid_stat(5), field 22. The command
// in field 2 may hold anything, parentheses included.
func startOf(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	const fields, start = 20, 19 // behind the command, from field 3
	after := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(after) < fields {
		return "", fmt.Errorf("read when process %d started: %d fields", pid, len(after))
	}
	return after[start], nil
}
