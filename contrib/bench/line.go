package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"

	"golang.org/x/time/rate"
)

// lineName is the first argument that makes this program a line to a registry that is
// elsewhere: on one machine upstream is as fast as memory, which no upstream is.
const lineName = "line"

const (
	// lineRate is what a line of 1 Gbit/s carries, in bytes a second.
	lineRate = 125_000_000
	// lineBurst is what the line holds at once.
	lineBurst = 64 << 10
)

// lineMain is the line: "line LISTEN TO RATE" forwards connections; the bytes that come
// back share RATE bytes a second.
func lineMain(ctx context.Context, args []string) error {
	const count = 3
	if len(args) != count {
		return errors.New("line takes LISTEN TO RATE")
	}
	perSecond, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	limit := rate.NewLimiter(rate.Limit(perSecond), lineBurst)
	for {
		near, err := l.Accept()
		if err != nil {
			return ctx.Err()
		}
		go carry(ctx, near, args[1], limit)
	}
}

// carry forwards one connection until either side has ended it.
func carry(ctx context.Context, near net.Conn, to string, limit *rate.Limiter) {
	defer near.Close()
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, near) // the end of either is the end of both
		_ = far.Close()
	}()
	defer far.Close()
	buf := make([]byte, lineBurst)
	for {
		n, err := far.Read(buf)
		if n > 0 && limit.WaitN(ctx, n) != nil {
			return
		}
		if _, werr := near.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

// startLine starts a line to a registry. The caller stops it.
func startLine(ctx context.Context, to string) (*registry, error) {
	host, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	c := self(lineName, host, to, strconv.Itoa(lineRate))
	r, err := launch(ctx, host, c.args...)
	if err != nil {
		return nil, err
	}
	if err := r.answers(ctx); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}
