package daemon

import (
	"context"
	"errors"
	"io"

	"github.com/moby/moby/client"
)

// A transfer is a load under way.
type transfer struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the daemon has answered
	err    error         // set before done is closed
}

// load starts to send the archive that comes out of pr. Who writes into the
// pipe sees the daemon's error as soon as it is there.
func (e *engine) load(ctx context.Context, pr *io.PipeReader) *transfer {
	ctx, cancel := context.WithCancel(ctx)
	t := &transfer{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		if t.err = e.send(ctx, pr); t.err != nil {
			_ = pr.CloseWithError(t.err) // it never fails
			return
		}
		// A daemon may answer before it has read the padding at the end.
		_, t.err = io.Copy(io.Discard, pr)
	}()
	return t
}

func (e *engine) send(ctx context.Context, pr *io.PipeReader) (err error) {
	// The client may not close the pipe: it knows no better reason than
	// io.ErrClosedPipe.
	body := struct{ io.Reader }{pr}
	resp, err := e.cli.ImageLoad(ctx, body, client.ImageLoadWithQuiet(true))
	if err != nil {
		return explain(ctx, e.cli, "load the image", err)
	}
	defer func() { err = errors.Join(err, resp.Close()) }()
	if err := readAnswer(resp); err != nil {
		return explain(ctx, e.cli, "load the image", err)
	}
	return nil
}

// wait returns when the daemon has answered; the end of ctx cuts the load.
func (t *transfer) wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		t.stop()
		return context.Cause(ctx)
	}
}

// stop cuts the load, if it has not ended, and waits until it is gone.
func (t *transfer) stop() {
	t.cancel()
	<-t.done
}
