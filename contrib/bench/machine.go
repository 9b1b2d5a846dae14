package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc (USER_HZ, the same everywhere).
const tick = 10 * time.Millisecond

// A machine is what figures depend on.
type machine struct {
	CPU    string
	Cores  int
	Memory string
	Kernel string
	System string
}

// thisMachine describes the machine; what cannot be read is left empty.
func thisMachine() machine {
	return machine{
		CPU:    field("/proc/cpuinfo", "model name", ":"),
		Cores:  runtime.NumCPU(),
		Memory: memory(field("/proc/meminfo", "MemTotal", ":")),
		Kernel: content("/proc/sys/kernel/osrelease"),
		System: strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`),
	}
}

// field is the value of the first line that begins with a key.
func field(file, key, separator string) string {
	for line := range strings.Lines(content(file)) {
		name, value, ok := strings.Cut(line, separator)
		if ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// memory turns "1048576 kB" into GiB.
func memory(text string) string {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	if err != nil {
		return text
	}
	return strconv.FormatFloat(kib/(1<<20), 'f', 1, 64) + " GiB"
}

func content(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// machineBusy is the CPU time of everything on the machine since it started.
func machineBusy() time.Duration { return parseBusy(content("/proc/stat")) }

// parseBusy adds up the first line of /proc/stat without idle and iowait, and
// without guest, which is in user already.
func parseBusy(stat string) time.Duration {
	line, _, _ := strings.Cut(stat, "\n")
	words := strings.Fields(line)
	var busy time.Duration
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // user nice system irq softirq steal
		if i < len(words) {
			n, _ := strconv.ParseInt(words[i], 10, 64)
			busy += time.Duration(n) * tick
		}
	}
	return busy
}

// processBusy is the CPU time of a running process.
func processBusy(pid int) time.Duration {
	return parseProcess(content("/proc/" + strconv.Itoa(pid) + "/stat"))
}

// parseProcess adds utime and stime of /proc/PID/stat. The name before them is
// in brackets and may hold anything.
func parseProcess(stat string) time.Duration {
	_, rest, _ := strings.Cut(stat[max(0, strings.LastIndex(stat, ")")):], ")")
	words := strings.Fields(rest)
	const utime, stime = 11, 12 // counted from the word after the name
	if len(words) <= stime {
		return 0
	}
	user, _ := strconv.ParseInt(words[utime], 10, 64)
	system, _ := strconv.ParseInt(words[stime], 10, 64)
	return time.Duration(user+system) * tick
}
