package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

const (
	// Network is that of the control socket, as package net calls it.
	Network = "unixpacket"
	// MaxMessage bounds a message: the largest, an answer to hello, takes some
	// 100 bytes for each engine.
	MaxMessage = 64 << 10
)

// Errors of Receive that are the sender's fault.
var (
	// ErrTooLong is a message of more than MaxMessage bytes.
	ErrTooLong = fmt.Errorf("a message has more than %d bytes", MaxMessage)
	// ErrDescriptor is a message that brought a descriptor nobody asked for.
	ErrDescriptor = errors.New("a message brought descriptors, which are not taken")
)

// A Conn sends and receives messages over a packet socket. One goroutine may
// send while another receives.
type Conn struct {
	*net.UnixConn
	buf []byte
}

// NewConn speaks over c, whose network is Network.
func NewConn(c *net.UnixConn) *Conn { return &Conn{UnixConn: c} }

// Send sends a message, with a descriptor of f unless that is nil. The caller
// closes f.
func (c *Conn) Send(message any, f *os.File) error {
	raw, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	if len(raw) > MaxMessage {
		return fmt.Errorf("send a message: %w", ErrTooLong)
	}
	rights, err := rightsOf(f)
	if err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	_, _, err = c.WriteMsgUnix(raw, rights, nil)
	return err
}

// Receive reads the next message. Descriptors are not taken: the kernel closes
// what comes, and the error is ErrDescriptor. io.EOF means that the other end
// has closed.
func (c *Conn) Receive(message any) error {
	return c.receive(message, nil)
}

// ReceiveFile reads the next message, and the descriptor that it brings; nil for
// none. The caller closes it.
func (c *Conn) ReceiveFile(message any) (*os.File, error) {
	oob := make([]byte, rightsSpace)
	var f *os.File
	err := c.receive(message, func(rights []byte) error {
		var err error
		f, err = file(rights)
		return err
	}, oob...)
	if err != nil && f != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, err
}

// receive reads a packet. The kernel sets close-on-exec on what take gets.
func (c *Conn) receive(message any, take func(rights []byte) error, oob ...byte) error {
	if c.buf == nil {
		c.buf = make([]byte, MaxMessage)
	}
	n, rights, flags, _, err := c.ReadMsgUnix(c.buf, oob)
	if err != nil {
		return err
	}
	if take != nil && rights > 0 {
		if err := take(oob[:rights]); err != nil {
			return err
		}
	}
	if err := overflow(flags); err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	return Decode(c.buf[:n], message)
}

// Decode reads a message: one JSON object, and nothing after it.
func Decode(raw []byte, message any) error {
	if err := json.Unmarshal(raw, message); err != nil {
		return fmt.Errorf("a message is not the JSON that was expected: %w", err)
	}
	return nil
}
