package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// sshThat puts a program in the place of ssh, which notes its arguments down, and
// returns the file with them.
func sshThat(t *testing.T, does string) string {
	t.Helper()
	dir := t.TempDir()
	noted := filepath.Join(dir, "arguments")
	script := "#!/bin/sh\nprintf '%s\\n' \"$@\" >" + noted + "\n" + does + "\n"
	must(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o700))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return noted
}

// TestForwardEndsWithUs: ssh says which port it got, runs until it is closed, and
// ends when nobody holds its input any more.
func TestForwardEndsWithUs(t *testing.T) { //nolint:paralleltest // it sets PATH
	noted := sshThat(t, "echo 'Pseudo-terminal will not be allocated' >&2; echo 'Allocated port 40123 for remote forward to 127.0.0.1:5000' >&2; cat")
	addr, closing, err := daemon.ForwardSSH(t.Context(), "ssh://jo@prod.example:2222/run/docker.sock", "127.0.0.1:5000")
	must(t, err)
	if addr != "127.0.0.1:40123" {
		t.Errorf("the address there is %s", addr)
	}
	must(t, closing())
	must(t, closing()) // again is harmless
	raw, err := os.ReadFile(noted)
	must(t, err)
	args := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if tail := strings.Join(args[len(args)-9:], " "); tail != "-R 127.0.0.1:0:127.0.0.1:5000 -l jo -p 2222 -- prod.example cat" {
		t.Errorf("ssh was run with … %s", tail)
	}
}

// TestForwardSaysWhySSHDoesNot: ssh's own words.
func TestForwardSaysWhySSHDoesNot(t *testing.T) { //nolint:paralleltest // it sets PATH
	sshThat(t, "echo 'Error: remote port forwarding failed for listen port 0' >&2; exit 255")
	_, _, err := daemon.ForwardSSH(t.Context(), "ssh://prod.example", "127.0.0.1:5000")
	if err == nil || !strings.Contains(err.Error(), "remote port forwarding failed") || !strings.Contains(err.Error(), "ssh://prod.example") {
		t.Errorf("error is %v; want ssh's words", err)
	}
}

// TestForwardTakesNoOptionForAHost: such a host would be an order to ssh.
func TestForwardTakesNoOptionForAHost(t *testing.T) { //nolint:paralleltest // it sets PATH
	noted := sshThat(t, "exit 1")
	for _, host := range []string{"ssh://-oProxyCommand=x", "ssh://-l@host", "ssh://host/$(x)", "ssh://jo:secret@host"} {
		if _, _, err := daemon.ForwardSSH(t.Context(), host, "127.0.0.1:5000"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v", host, err)
		}
	}
	if _, err := os.Stat(noted); err == nil {
		t.Error("ssh was run")
	}
}
