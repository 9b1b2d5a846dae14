package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// self is this process. Where /proc is not mounted, or is that of other
// processes than those that this one can send signals to, it has no machine.
func (s system) self() identity {
	id := identity{pid: os.Getpid()}
	if seen, err := os.Readlink(filepath.Join(s.proc, "self")); err != nil || seen != strconv.Itoa(id.pid) {
		return id
	}
	boot, err := os.ReadFile(filepath.Join(s.proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return id
	}
	pids, err := s.namespace("pid")
	if err != nil {
		return id
	}
	times, err := s.namespace("time")
	if err != nil {
		times = "0" // before Linux 5.6 there is one for all
	}
	now, err := s.look(id.pid)
	if err != nil {
		return id
	}
	id.machine, id.started = strings.TrimSpace(string(boot))+"."+pids+"."+times, now.started
	return id
}

// namespace is the number of one of this process's namespaces: its link reads
// "pid:[4026531836]".
func (s system) namespace(kind string) (string, error) {
	link, err := os.Readlink(filepath.Join(s.proc, "self/ns", kind))
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimPrefix(link, kind+":["), "]"), nil
}

// ended says whether a process of this machine is gone. Whether there is one of
// that number, kill(2) says also where /proc hides the processes of other users
// (hidepid, ProtectProc); one that is there, and about which /proc does not say
// that it is another, lives.
func (s system) ended(other identity) bool {
	if err := syscall.Kill(other.pid, 0); errors.Is(err, syscall.ESRCH) {
		return true
	}
	now, err := s.look(other.pid)
	return err == nil && (now.started != other.started || now.dead)
}

// status is what /proc says of a process.
type status struct {
	started string
	dead    bool // only waits for its parent
}

// look reads proc_pid_stat(5). The command in field 2 may hold anything,
// parentheses included.
func (s system) look(pid int) (status, error) {
	const state, threads, start = 0, 17, 19 // fields 3, 20 and 22, counted from behind the command
	stat, err := os.ReadFile(filepath.Join(s.proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return status{}, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) <= start {
		return status{}, fmt.Errorf("read when process %d started: %d fields", pid, len(fields))
	}
	// Threads may outlive the one that the process began with.
	alone := fields[threads] == "0" || fields[threads] == "1"
	return status{started: fields[start], dead: fields[state] == "Z" && alone}, nil
}
