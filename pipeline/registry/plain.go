package registry

import (
	"errors"
	"io"
	"net"
	"time"
)

// Plain is a listener for plain HTTP which answers who speaks TLS at once: clients
// such as Docker try TLS first on the loopback, fall back to HTTP when they see
// this answer, and would wait for ours otherwise.
func Plain(l net.Listener) net.Listener { return plainListener{l} }

type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &plainConn{Conn: c}, nil
}

type plainConn struct {
	net.Conn
	known bool
}

// NetConn is the connection itself.
func (c *plainConn) NetConn() net.Conn { return c.Conn }

// ReadFrom lets the kernel send files.
func (c *plainConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

const (
	// handshake is the first byte of TLS (RFC 8446, 5.1).
	handshake = 0x16
	noTLS     = "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTP.\n"
	// maxHello is more than a client sends before it waits for an answer.
	maxHello = 64 << 10
)

func (c *plainConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.known || n == 0 {
		return n, err
	}
	if c.known = true; p[0] != handshake {
		return n, err
	}
	_, err = io.WriteString(c.Conn, noTLS)
	if half, ok := bare(c.Conn).(interface{ CloseWrite() error }); ok {
		// Closed with bytes unread, the connection would be reset, and the answer
		// lost with it.
		err = errors.Join(err, half.CloseWrite(), c.SetReadDeadline(time.Now().Add(time.Second)))
		_, _ = io.CopyN(io.Discard, c.Conn, maxHello)
	}
	return 0, errors.Join(err, io.EOF)
}

// bare is a connection without what is around it.
func bare(c net.Conn) net.Conn {
	for {
		around, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = around.NetConn()
	}
}
