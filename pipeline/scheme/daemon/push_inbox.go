package daemon

import (
	"context"
	"errors"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// inbox has the images pushed one after the other, each whole, into temporary
// files: the layers of graph drivers and of Podman are compressed as they are
// pushed, so only then is it known which blobs there are.
func (p *pushing) inbox(q pipeline.Query) pipeline.Graph {
	names := map[string][]string{} // by the tag
	for _, image := range p.images {
		_, tag, _ := cutTag(image.name)
		names[tag] = image.names
	}
	turn := &inboxTurn{came: map[string]bool{}}
	box := registry.NewInbox(registry.InboxOptions{TempDir: p.target.TempDir, Received: turn.received})
	done := make(chan struct{})
	go func() {
		defer close(done)
		box.End(p.pushAll(turn, box))
	}()
	p.closers = append(p.closers, box.Close, func() error {
		<-done
		return nil
	})
	g := box.Graph(q, pipeline.ResolveOptions{}, func(tag string) []string { return names[tag] })
	return &inboxGraph{pushGraph{g, p}, box}
}

// pushAll asks for one image after the other.
func (p *pushing) pushAll(turn *inboxTurn, box *registry.Inbox) error {
	handler := p.handler(box.Backend())
	for _, image := range p.images {
		l := p.desk.newLogin()
		turn.next(l)
		l.opens(handler)
		err := p.e.push(p.ctx, image.name, l, nil)
		l.end()
		if _, tag, _ := cutTag(image.name); turn.has(tag) {
			continue // what the daemon says then is that we refused the manifest
		}
		if err == nil {
			err = errors.New("the daemon says that it has pushed " + image.ref.Ask + ", and its manifest did not come")
		}
		return err
	}
	return nil
}

// inboxTurn knows whose push it is.
type inboxTurn struct {
	mu   sync.Mutex
	l    login
	came map[string]bool // tags
}

func (t *inboxTurn) next(l login) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.l = l
}

func (t *inboxTurn) has(tag string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.came[tag]
}

// received ends a push with its last manifest, which is refused: some daemons
// would then try other formats, and all would note down that we have the image.
func (t *inboxTurn) received(_ context.Context, _ registry.Manifest, tags []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tag := range tags {
		t.came[tag] = true
	}
	if len(tags) == 0 {
		return nil
	}
	t.l.end()
	return errEnough
}

// inboxGraph is the graph of a push into temporary files.
type inboxGraph struct {
	pushGraph
	box *registry.Inbox
}

var _ pipeline.DiskUser = (*inboxGraph)(nil)

// PeakDisk is all that has come: it stays until the graph is closed.
func (g *inboxGraph) PeakDisk() int64 { return g.box.Size() }
