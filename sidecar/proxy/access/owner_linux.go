package access

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// socketOwner is the user who owns the other end of a connection on this machine: the
// kernel's answer (sock_diag(7)), or what /proc/net says where it may not be asked.
func socketOwner(remote, local netip.AddrPort) (uint32, error) {
	uid, err := diagOwner(remote, local)
	if err == nil || errors.Is(err, errNoOwner) {
		return uid, err
	}
	return procOwner(remote, local)
}

const (
	diagByFamily = 20 // SOCK_DIAG_BY_FAMILY of linux/sock_diag.h
	noCookie     = 0xffffffff

	// Offsets and sizes of linux/inet_diag.h: inet_diag_req_v2 is 8 bytes and a socket's
	// ID, inet_diag_msg 4 bytes, the ID, and five numbers of 4 bytes.
	idSize      = 48
	requestSize = 8 + idSize
	uidAt       = 4 + idSize + 12
	inodeAt     = uidAt + 4
	answerSize  = inodeAt + 4
)

// diagOwner asks the kernel for one socket by its two ends.
func diagOwner(remote, local netip.AddrPort) (uint32, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	defer unix.Close(s)
	wait := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return 0, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	if err := unix.Sendto(s, diagRequest(remote, local), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	buf := make([]byte, 8<<10)
	n, _, err := unix.Recvfrom(s, buf, 0) // the kernel has answered when Sendto returns
	if err != nil {
		return 0, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	return diagAnswer(buf[:n])
}

func diagRequest(remote, local netip.AddrPort) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+requestSize)
	native := binary.NativeEndian
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], diagByFamily)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	q := b[unix.NLMSG_HDRLEN:]
	q[0], q[1] = unix.AF_INET, unix.IPPROTO_TCP
	if remote.Addr().Is6() {
		q[0] = unix.AF_INET6
	}
	native.PutUint32(q[4:], noCookie) // in any state
	id := q[8:]
	binary.BigEndian.PutUint16(id, remote.Port()) // his end is the source
	binary.BigEndian.PutUint16(id[2:], local.Port())
	copy(id[4:20], remote.Addr().AsSlice())
	copy(id[20:36], local.Addr().AsSlice())
	native.PutUint32(id[40:], noCookie)
	native.PutUint32(id[44:], noCookie)
	return b
}

func diagAnswer(b []byte) (uint32, error) {
	native := binary.NativeEndian
	if len(b) < unix.NLMSG_HDRLEN+4 {
		return 0, errors.New("the kernel's answer for a socket is too short")
	}
	kind, m := native.Uint16(b[4:]), b[unix.NLMSG_HDRLEN:]
	switch {
	case kind == unix.NLMSG_ERROR:
		errno := unix.Errno(-int32(native.Uint32(m)))
		if errno == unix.ENOENT {
			// Modules for IPv4 and IPv6 may not be there, which is the same error.
			return 0, errors.New("the kernel finds no such socket")
		}
		return 0, fmt.Errorf("ask the kernel for a socket: %w", errno)
	case kind != diagByFamily || len(m) < answerSize:
		return 0, errors.New("the kernel's answer for a socket is another one")
	case native.Uint32(m[inodeAt:]) == 0:
		return 0, errNoOwner // closed: the kernel keeps it for a while, as root's
	}
	return native.Uint32(m[uidAt:]), nil
}

// procOwner looks the socket up in the kernel's lists.
func procOwner(remote, local netip.AddrPort) (uint32, error) {
	type list struct {
		name   string
		mapped bool
	}
	lists := []list{{"/proc/net/tcp", false}, {"/proc/net/tcp6", true}} // an IPv6 socket may talk IPv4
	if remote.Addr().Is6() {
		lists = []list{{"/proc/net/tcp6", true}}
	}
	for _, l := range lists {
		uid, err := searchProc(l.name, procAddr(remote, l.mapped), procAddr(local, l.mapped))
		if err == nil || !errors.Is(err, errNoOwner) && !errors.Is(err, os.ErrNotExist) {
			return uid, err
		}
	}
	return 0, errNoOwner
}

// searchProc reads one list: "sl local remote st queues tr retrnsmt uid timeout inode …".
func searchProc(name, remote, local string) (uint32, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		v := strings.Fields(s.Text())
		if len(v) < 10 || v[1] != remote || v[2] != local {
			continue
		}
		uid, err := strconv.ParseUint(v[7], 10, 32)
		if err != nil || v[9] == "0" { // as in diagAnswer
			return 0, errNoOwner
		}
		return uint32(uid), nil
	}
	return 0, errors.Join(s.Err(), errNoOwner)
}

// procAddr writes an address as the lists do: words of 4 bytes in the machine's order.
func procAddr(a netip.AddrPort, mapped bool) string {
	raw := a.Addr().AsSlice()
	if mapped {
		b := a.Addr().As16()
		raw = b[:]
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	return strings.ToUpper(hex.EncodeToString(raw)) + fmt.Sprintf(":%04X", a.Port())
}
