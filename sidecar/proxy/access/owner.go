package access

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// errNoOwner is that a connection's other end is not a socket of this machine, or one of another
// network namespace, or not there any more.
var errNoOwner = errors.New("no socket of this machine is the other end of the connection")

type ownerKey struct{}

// ConnContext is for http.Server: a connection's owner is asked for once, when its first
// request comes.
func (g *Guard) ConnContext(ctx context.Context, c net.Conn) context.Context {
	if g.c.Peers == nil {
		return ctx
	}
	return context.WithValue(ctx, ownerKey{}, sync.OnceValues(func() (uint32, error) {
		remote, ok1 := c.RemoteAddr().(*net.TCPAddr)
		local, ok2 := c.LocalAddr().(*net.TCPAddr)
		if !ok1 || !ok2 {
			return 0, errNoOwner
		}
		return g.owner(bare(remote), bare(local))
	}))
}

func bare(a *net.TCPAddr) netip.AddrPort {
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

func (g *Guard) ownerOf(ctx context.Context) (uint32, error) {
	f, ok := ctx.Value(ownerKey{}).(func() (uint32, error))
	if !ok {
		return 0, errNoOwner
	}
	return f()
}
