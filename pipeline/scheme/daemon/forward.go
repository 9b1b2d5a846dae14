package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// ForwardSSH leads a port of ours (127.0.0.1:PORT) to the machine of an
// ssh://[USER@]HOST[:PORT] address, by the user's own ssh and its configuration, as
// Docker's client runs it. It returns the address over there, on its loopback.
//
// What runs on the other side reads what we hold open, so that all of it ends with
// this process, however that ends.
func ForwardSSH(ctx context.Context, host, localAddr string) (addr string, closing func() error, err error) {
	args, err := forwardArgs(host, localAddr)
	if err != nil {
		return "", nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx)) // until closing
	cmd := exec.CommandContext(life, "ssh", args...)             //nolint:gosec // CheckSSH has seen what is not ours
	f := &forwarding{cmd: cmd, stop: stop, allocated: make(chan string, 1), ended: make(chan struct{})}
	held, err := cmd.StdinPipe()
	if err != nil {
		stop()
		return "", nil, err
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		stop()
		return "", nil, err
	}
	f.held = held
	if err := cmd.Start(); err != nil {
		stop()
		return "", nil, fmt.Errorf("start ssh: %w", err)
	}
	go f.listen(said)
	return f.wait(ctx, host)
}

// forwardArgs are ssh's. A shared connection (ControlMaster) would keep the port
// when we have ended, and a log level of the user's hide which one it is.
func forwardArgs(host, localAddr string) ([]string, error) {
	if err := CheckSSH(host); err != nil {
		return nil, err
	}
	u, err := url.Parse(host)
	if err != nil {
		return nil, err
	}
	args := []string{
		"-T", "-a", "-x",
		"-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=30", "-o", "LogLevel=INFO",
		"-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no",
		"-R", "127.0.0.1:0:" + localAddr,
	}
	if u.User != nil {
		args = append(args, "-l", u.User.Username())
	}
	if p := u.Port(); p != "" {
		args = append(args, "-p", p)
	}
	return append(args, "--", u.Hostname(), "cat"), nil
}

// A forwarding is an ssh that runs.
type forwarding struct {
	cmd       *exec.Cmd
	stop      context.CancelFunc
	held      io.Closer // cat's input
	allocated chan string
	ended     chan struct{} // closed when ssh has ended
	once      sync.Once

	words []string // the last of what ssh said; valid once ended is closed
}

// keptWords is how many lines of ssh's an error shows.
const keptWords = 5

// listen reads what ssh says, to its end.
func (f *forwarding) listen(said io.Reader) {
	defer close(f.ended)
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if port, ok := allocatedPort(line); ok {
			select {
			case f.allocated <- port:
			default: // one is enough
			}
			continue
		}
		if f.words = append(f.words, line); len(f.words) > keptWords {
			f.words = f.words[1:]
		}
	}
	_, _ = io.Copy(io.Discard, said) // a line that was too long must not stop ssh
	_ = f.cmd.Wait()                 // what it said tells more than its status
}

// allocatedPort reads "Allocated port 40123 for remote forward to 127.0.0.1:5000".
func allocatedPort(line string) (string, bool) {
	rest, ok := strings.CutPrefix(line, "Allocated port ")
	if !ok {
		return "", false
	}
	port, _, ok := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(port, 10, 16)
	return port, ok && err == nil && n > 0
}

// wait returns when ssh has said which port it got.
func (f *forwarding) wait(ctx context.Context, host string) (string, func() error, error) {
	select {
	case port := <-f.allocated:
		return "127.0.0.1:" + port, f.close, nil
	case <-f.ended:
		f.stop()
		words := strings.Join(f.words, "; ")
		if words == "" {
			words = "it said nothing"
		}
		return "", nil, fmt.Errorf("ssh to %s opens no port for us there (try: ssh -R 127.0.0.1:0:127.0.0.1:1 HOST; the server may forbid it, AllowTcpForwarding): %s", redacted(host), words)
	case <-ctx.Done():
		return "", nil, errors.Join(context.Cause(ctx), f.close())
	}
}

// close ends ssh.
func (f *forwarding) close() error {
	f.once.Do(func() {
		_ = f.held.Close() // its end is what is wanted
		f.stop()
		<-f.ended
	})
	return nil
}
