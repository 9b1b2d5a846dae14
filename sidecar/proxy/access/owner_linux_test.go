package access_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/occystrap/occystrap/sidecar/proxy/access"
)

// In the foreground other users of the machine are not served: they would pull and
// push with credentials that are not theirs.
func TestOnlyConnectionsOfItsUsersAreServed(t *testing.T) {
	t.Parallel()
	me := uint32(os.Getuid())
	for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, c := range []struct {
			peers []uint32
			want  int
		}{{[]uint32{me}, 200}, {[]uint32{me + 1, me}, 200}, {[]uint32{me + 1}, 403}, {[]uint32{}, 403}, {nil, 200}} {
			l, err := net.Listen("tcp", network)
			if err != nil {
				t.Logf("%s: %v", network, err)
				continue
			}
			g := guard(t, access.Config{Listen: []net.Addr{l.Addr()}, Peers: c.peers})
			s := g.Server(registryBehind(t, g))
			go func() { _ = s.Serve(l) }()
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + l.Addr().String() + "/v2/")
			must(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("%s is let in by %d: %s", network, c.peers, resp.Status)
			}
			must(t, s.Close())
		}
	}
}

// A socket that talks IPv4 may be one of IPv6.
func TestTheOwnerOfAMappedAddressIsFound(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	g := guard(t, access.Config{Peers: []uint32{uint32(os.Getuid())}})
	s := g.Server(registryBehind(t, g))
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("there is no IPv6: %v", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	to := &syscall.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port}
	copy(to.Addr[:], net.ParseIP("127.0.0.1").To16())
	must(t, syscall.Connect(fd, to))
	_, err = io.WriteString(f, "GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	must(t, err)
	if line, err := bufio.NewReader(f).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("%q, %v", line, err)
	}
}

// The real thing: a process of another user, which root can start.
func TestAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	const invoking, other = 54321, 54322
	g := guard(t, access.Config{Peers: []uint32{0, invoking}})
	s := g.Server(registryBehind(t, g))
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	// The program is opened here, since others may not enter the folder where it is.
	self, err := os.Open("/proc/self/exe")
	must(t, err)
	defer self.Close()
	must(t, self.Chmod(0o755)) // a strict umask may have left it to us alone
	for uid, want := range map[uint32]int{0: 200, invoking: 200, other: 403} {
		cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3")
		cmd.Dir, cmd.ExtraFiles, cmd.Env = "/", []*os.File{self}, []string{clientVariable + "=http://" + l.Addr().String() + "/v2/"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("as %d: %v\n%s", uid, err, out)
		}
		if got := strings.TrimSpace(string(out)); got != strconv.Itoa(want) {
			t.Errorf("as %d: %s, want %d", uid, got, want)
		}
	}
}

// Connections whose owner is unknown are refused: of a handler that no Server of the
// Guard runs, too.
func TestUnknownOwnersAreRefused(t *testing.T) {
	t.Parallel()
	h := registryBehind(t, guard(t, access.Config{Peers: []uint32{uint32(os.Getuid())}}))
	if a := ask(t, h, "GET", "/v2/"); a.StatusCode != 403 || !strings.Contains(a.body, "cannot tell") {
		t.Errorf("%s %s", a.Status, a.body)
	}
}
