package lanes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/plugin/control/wire"
)

// Config says whose files are read, and for whom.
type Config struct {
	// Containerd and Docker are the engines that are served.
	Containerd []Containerd
	Docker     []Docker
	// Users and Groups are the numbers of those who may ask, besides root.
	Users, Groups []uint32
	// Program is the sidecar's version.
	Program string
	// Log receives what an administrator should know; nil discards.
	Log *slog.Logger
}

// A Containerd is one containerd on this machine.
type Containerd struct {
	// Name tells it from the others.
	Name string
	// Root is containerd's root, as /var/lib/containerd.
	Root string
	// Namespaces are those whose images are lent.
	Namespaces []string
}

// A Docker is one daemon that stores images with a graph driver.
type Docker struct {
	// Name tells it from the others.
	Name string
	// Root is the daemon's root, as /var/lib/docker.
	Root string
	// Reader reads its images.
	Reader Reader
}

// A Reader reads the images of a graph driver. Its methods may be called at
// once; an image or layer that is not there is a pipeline.ErrNotFound.
type Reader interface {
	// Image is what the image with that ID is.
	Image(ctx context.Context, id digest.Digest) (wire.Image, error)
	// Layer is a layer of the image as a plain tar, with an error in place of
	// io.EOF where its digest is not diffID.
	Layer(ctx context.Context, image, diffID digest.Digest) (io.ReadCloser, error)
}

// A Server answers on the control socket.
type Server struct {
	cfg     Config
	log     *slog.Logger
	engines []wire.Engine
	stores  map[string]*store
	graphs  map[string]Reader
	guests  *guests
	refused chan struct{} // one for each that is being told
}

// New is a server that serves nobody yet.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Log, stores: map[string]*store{}, graphs: map[string]Reader{}, guests: newGuests(), refused: make(chan struct{}, mostRefused)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, c := range cfg.Containerd {
		s.stores[c.Name] = &store{Containerd: c}
		s.engines = append(s.engines, wire.Engine{Name: c.Name, Kind: wire.Containerd, Root: c.Root, Namespaces: c.Namespaces})
	}
	for _, d := range cfg.Docker {
		s.graphs[d.Name] = d.Reader
		s.engines = append(s.engines, wire.Engine{Name: d.Name, Kind: wire.Docker, Root: d.Root})
	}
	return s
}

// Serve answers those who connect until the listener is closed, and returns when
// the last of them has gone; nil then. When ctx ends they are sent away.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		all.Go(func() {
			defer c.Close()
			s.meet(ctx, c)
		})
	}
}

// meet finds out who has connected, and serves or refuses.
func (s *Server) meet(ctx context.Context, c net.Conn) {
	unix, ok := c.(*net.UnixConn)
	if inner, is := c.(interface{ NetConn() net.Conn }); is {
		unix, ok = inner.NetConn().(*net.UnixConn)
	}
	if !ok {
		s.log.Error("the control socket is no unix socket; give it to nobody else", "network", c.LocalAddr().Network())
		return
	}
	n := &session{server: s, conn: wire.NewConn(unix)}
	leave, refusal := s.admit(n, unix)
	if refusal != nil {
		s.log.Warn("refused a connection", "uid", n.who.uid, "reason", refusal.Message)
		s.sendAway(n, refusal)
		return
	}
	defer leave()
	n.serve(ctx)
}

// admit lets a peer in, and counts it, or says why not.
func (s *Server) admit(n *session, c *net.UnixConn) (leave func(), refusal *wire.Error) {
	var err error
	if n.who, err = peerOf(c); err != nil {
		return nil, wire.Errorf(wire.Denied, "the sidecar cannot tell who you are: %v", err)
	}
	if refusal := s.cfg.admit(n.who); refusal != nil {
		return nil, refusal
	}
	return s.guests.enter(n.who.uid)
}

const (
	// mostRefused is how many are told at once that they are not let in.
	mostRefused = 64
	// refusedTime is how long one of them may take to say hello.
	refusedTime = 5 * time.Second
)

// sendAway says why. It waits for the peer's hello first: what is closed before
// all was read is a reset connection there, and not our answer.
func (s *Server) sendAway(n *session, why *wire.Error) {
	select {
	case s.refused <- struct{}{}:
	default:
		return
	}
	defer func() { <-s.refused }()
	_ = n.conn.SetReadDeadline(time.Now().Add(refusedTime)) // else the peer closes
	var r wire.Request
	_ = n.conn.Receive(&r) // whatever it is
	n.refuse(why)
}
