package sidecar

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Gate counts who is connected to a set of listeners, and shuts them when
// nobody has been for a while. That it does without losing anybody: first nobody
// is accepted any more, then it is decided. Who connects meanwhile waits in the
// kernel's queue, and is let in if somebody else was just before the gate shut;
// otherwise systemd, which has the sockets too, starts the sidecar anew for him.
type Gate struct {
	idle time.Duration

	mu     sync.Mutex
	doors  []*Door
	guests int
	timer  *time.Timer   // nil where it never shuts
	parked int           // doors at which nobody is accepted
	opened chan struct{} // closed when a trial shut ends; nil when there is none
	shut   chan struct{} // closed when the gate is shut for good
	change func(guests int)
}

// A Door is a listener at a gate: a net.Listener for package lanes or net/http.
type Door struct {
	gate     *Gate
	raw      net.Listener
	guests   chan net.Conn // closed when nobody comes any more
	visitors chan net.Conn
	left     chan struct{} // closed when nobody accepts any more
	leaving  sync.Once
}

// deadliner is what net's listeners can besides.
type deadliner interface{ SetDeadline(t time.Time) error }

// NewGate is a gate that shuts when nobody has been connected for idle; 0 is
// never. change is told how many are connected; it may be nil.
func NewGate(idle time.Duration, change func(guests int)) *Gate {
	if change == nil {
		change = func(int) {}
	}
	return &Gate{idle: idle, shut: make(chan struct{}), change: change}
}

// Door puts a listener at the gate. All are put there before Open.
func (g *Gate) Door(l net.Listener) *Door {
	d := &Door{gate: g, raw: l, guests: make(chan net.Conn), visitors: make(chan net.Conn), left: make(chan struct{})}
	g.doors = append(g.doors, d)
	return d
}

// Open lets guests in, until ctx ends or all is idle; it returns when nobody is
// let in any more, with an error if a listener broke. The listeners are closed
// then, those who are connected are not sent away.
func (g *Gate) Open(ctx context.Context) error {
	defer context.AfterFunc(ctx, g.close)()
	g.mu.Lock()
	if g.idle > 0 {
		g.timer = time.AfterFunc(g.idle, g.trial)
	}
	g.mu.Unlock()
	failed := make(chan error, len(g.doors))
	for _, d := range g.doors {
		go func() {
			err := d.let()
			if err != nil {
				g.close()
			}
			failed <- err
		}()
	}
	var errs []error
	for range g.doors {
		errs = append(errs, <-failed)
	}
	g.close()
	for _, d := range g.doors {
		errs = append(errs, d.raw.Close())
	}
	return errors.Join(errs...)
}

// let lets guests in at a door until the gate shuts. All whom it has let in are
// served.
func (d *Door) let() error {
	defer close(d.guests)
	for {
		c, err := d.raw.Accept()
		switch {
		case err == nil:
			d.gate.enter()
			g := &guest{Conn: c, gate: d.gate}
			select {
			case d.guests <- g:
			case <-d.left:
				return g.Close()
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !d.gate.park() {
				return nil
			}
		case errors.Is(err, net.ErrClosed):
			return nil
		case passing(err):
			select {
			case <-time.After(breath):
			case <-d.gate.shut:
			}
		default:
			return err
		}
	}
}

// breath is how long a door waits when there is no descriptor for the next one.
const breath = 50 * time.Millisecond

// passing says whether to accept fails now and works later.
func passing(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ECONNABORTED)
}

// Accept returns the next guest; net.ErrClosed when the gate is shut and nobody
// is left to serve.
func (d *Door) Accept() (net.Conn, error) {
	select {
	case c, ok := <-d.guests:
		if !ok {
			return nil, net.ErrClosed
		}
		return c, nil
	case c := <-d.visitors:
		return c, nil
	}
}

// Visit lets in somebody who came another way, and does not count: the sidecar
// itself, to see whether it answers. It says whether he was let in.
func (d *Door) Visit(ctx context.Context, c net.Conn) bool {
	select {
	case d.visitors <- c:
		return true
	case <-d.gate.shut:
	case <-ctx.Done():
	}
	return false
}

// Close shuts the whole gate: its server accepts nobody any more.
func (d *Door) Close() error {
	d.leaving.Do(func() { close(d.left) })
	d.gate.close()
	return nil
}

// Addr is the listener's.
func (d *Door) Addr() net.Addr { return d.raw.Addr() }

// close shuts the gate for good.
func (g *Gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isShut() {
		return
	}
	close(g.shut)
	g.still()
	g.stopAccepting()
}

// stopAccepting makes every Accept return. The sockets stay as they are: who
// connects waits in their queues.
func (g *Gate) stopAccepting() {
	for _, d := range g.doors {
		if l, ok := d.raw.(deadliner); ok {
			_ = l.SetDeadline(time.Unix(1, 0)) // the past
		} else {
			_ = d.raw.Close()
		}
	}
}

// trial shuts the gate on trial: see park.
func (g *Gate) trial() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guests > 0 || g.opened != nil || g.isShut() {
		return
	}
	g.opened = make(chan struct{})
	g.parked = 0
	g.stopAccepting()
}

// park is where a door waits while the gate is shut on trial. The last one
// decides: if nobody came in before it stopped, the gate is shut for good. It
// says whether to go on.
func (g *Gate) park() bool {
	g.mu.Lock()
	opened := g.opened
	if opened == nil || g.isShut() { // it is no trial
		g.mu.Unlock()
		return false
	}
	if g.parked++; g.parked == len(g.doors) {
		g.opened = nil
		if g.guests == 0 {
			close(g.shut)
		} else {
			for _, d := range g.doors {
				if l, ok := d.raw.(deadliner); ok {
					_ = l.SetDeadline(time.Time{})
				}
			}
		}
		close(opened)
	}
	g.mu.Unlock()
	select {
	case <-opened:
	case <-g.shut:
	}
	return !g.isShut()
}

func (g *Gate) isShut() bool {
	select {
	case <-g.shut:
		return true
	default:
		return false
	}
}

// unlessShut asks a question, and takes no answer amiss once the gate is shut: who is
// being stopped lets nobody in, and how long that may take is bounded otherwise.
func (g *Gate) unlessShut(ask func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := ask(ctx); !g.isShut() {
			return err
		}
		return nil
	}
}

// still stops the time that nobody is here.
func (g *Gate) still() {
	if g.timer != nil {
		g.timer.Stop()
	}
}

func (g *Gate) enter() {
	g.mu.Lock()
	g.guests++
	g.still()
	n := g.guests
	g.mu.Unlock()
	g.change(n)
}

func (g *Gate) leave() {
	g.mu.Lock()
	g.guests--
	n := g.guests
	if n == 0 && g.timer != nil {
		g.timer.Reset(g.idle)
	}
	g.mu.Unlock()
	g.change(n)
}

// A guest is a connection that is counted until it is closed.
type guest struct {
	net.Conn
	gate *Gate
	once sync.Once
}

// NetConn is the connection itself.
func (c *guest) NetConn() net.Conn { return c.Conn }

// ReadFrom lets the kernel send files.
func (c *guest) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// Close closes the connection.
func (c *guest) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.gate.leave)
	return err
}
