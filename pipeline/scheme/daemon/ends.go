package daemon

import (
	"context"
	"errors"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
)

// A chooser is a source that chooses its lane when it is opened.
type chooser struct{ end }

var (
	_ pipeline.Source = (*chooser)(nil)
	_ pipeline.Laned  = (*chooser)(nil)
)

// Open meets the daemon and opens the first lane that works.
func (s *chooser) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	if err := s.meet(ctx); err != nil {
		return nil, err
	}
	var g pipeline.Graph
	err := s.try(ctx, func(l Lane) (err error) {
		src := l.Source(s.target)
		if src == nil {
			return Unfit(errors.New("it leads into daemons only"))
		}
		_, lists := l.(Lister)
		switch {
		case q.Foresight != nil && !lists:
			g, err = s.target.outline(ctx, q)
			return err
		case q.Brief && !lists && l.Name() != LaneSave && s.forced == "": // save has a way without an export
			return Unfit(errors.New("it moves an image, and only its config is wanted"))
		}
		g, err = src.Open(ctx, q)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.opened = g
	return pipeline.OnClose(g, s.close), nil
}

// A receiver is a sink that chooses its lane when it is asked first.
type receiver struct {
	end
	once sync.Once // guards what choose sets
	sink pipeline.Sink
	err  error

	foresees bool // the lane is to leave no trace
}

var (
	_ pipeline.Sink     = (*receiver)(nil)
	_ pipeline.Limited  = (*receiver)(nil)
	_ pipeline.Deferred = (*receiver)(nil)
	_ pipeline.Laned    = (*receiver)(nil)
	_ pipeline.Foreseer = (*receiver)(nil)
)

// Foresee makes the lane that will be chosen foresee, if it can.
func (r *receiver) Foresee() { r.foresees = true }

// Chosen is the sink of the first lane that works.
func (r *receiver) Chosen(ctx context.Context) (pipeline.Sink, error) {
	r.once.Do(func() { r.err = r.choose(ctx) })
	return r.sink, r.err
}

func (r *receiver) choose(ctx context.Context) error {
	if err := r.meet(ctx); err != nil {
		return err
	}
	return r.try(ctx, func(l Lane) error {
		sink := l.Sink(r.target)
		if sink == nil {
			return Unfit(errors.New("it leads out of daemons only"))
		}
		f, foresees := sink.(pipeline.Foreseer)
		if r.foresees && foresees {
			f.Foresee()
		}
		if s, ok := sink.(pipeline.Limited); ok && (foresees || !r.foresees) {
			if _, err := s.Capacity(ctx); err != nil {
				return errors.Join(err, sink.Close())
			}
		}
		r.sink, r.opened = sink, sink
		return nil
	})
}

// Capacity is that of the lane.
func (r *receiver) Capacity(ctx context.Context) (pipeline.Capacity, error) {
	sink, err := r.Chosen(ctx)
	if s, ok := sink.(pipeline.Limited); ok && err == nil {
		return s.Capacity(ctx)
	}
	return pipeline.Capacity{}, err
}

// Plan is the lane's.
func (r *receiver) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	sink, err := r.Chosen(ctx)
	if err != nil {
		return pipeline.Plan{}, err
	}
	return sink.Plan(ctx, l)
}

// Layer is the lane's.
func (r *receiver) Layer(ctx context.Context, seq int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	sink, err := r.Chosen(ctx)
	if err != nil {
		return nil, err
	}
	return sink.Layer(ctx, seq, l)
}

// Commit is the lane's.
func (r *receiver) Commit(ctx context.Context, m pipeline.Manifest) error {
	sink, err := r.Chosen(ctx)
	if err != nil {
		return err
	}
	return sink.Commit(ctx, m)
}

// Publish is the lane's.
func (r *receiver) Publish(ctx context.Context) error {
	sink, err := r.Chosen(ctx)
	if err != nil {
		return err
	}
	return sink.Publish(ctx)
}

// Close closes the lane's sink, if one was chosen, and the connection.
func (r *receiver) Close() error {
	r.once.Do(func() { r.err = errAborted }) // nothing may begin from here on
	var err error
	if r.sink != nil {
		err = r.sink.Close()
	}
	return errors.Join(err, r.close())
}
