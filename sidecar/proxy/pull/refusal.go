package pull

import (
	"errors"
	"net/http"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

const (
	// goneTime is how long an upstream is not asked again for what it did not have, or
	// did not give: short enough that who pushes an image and pulls it waits no longer
	// than for the next attempt.
	goneTime = 5 * time.Second
	// downTime is how long an upstream that could not be asked is not asked again about
	// what is kept here.
	downTime = 5 * time.Second
)

// A refusal is an answer of the upstream that is remembered for a moment, so that a
// storm of requests does not reach it.
type refusal struct {
	err   error
	until time.Time
}

// refused is what the upstream said of something a moment ago; nil if nothing.
func (u *upstream) refused(key string) error {
	r, ok := u.gone.Get(key)
	if !ok {
		return nil
	}
	if left := r.until.Sub(u.p.c.Now()); left <= 0 || left > goneTime { // the clock was set back
		u.gone.Remove(key)
		return nil
	}
	return r.err
}

// refuse remembers an answer that will be the same for a moment.
func (u *upstream) refuse(key string, err error) {
	var status *remote.StatusError
	denied := errors.As(err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden)
	if denied {
		u.warn("the registry does not let this proxy read an image: does its login still hold?", err)
	}
	if denied || errors.Is(err, pipeline.ErrNotFound) {
		u.gone.Add(key, refusal{err, u.p.c.Now().Add(goneTime)})
	}
}

// broken remembers that the upstream cannot be asked for now.
func (u *upstream) broken() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.down = u.p.c.Now().Add(downTime)
}

// works forgets it.
func (u *upstream) works() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.down = time.Time{}
}

// isBroken says whether the upstream could not be asked a moment ago.
func (u *upstream) isBroken() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	left := u.down.Sub(u.p.c.Now())
	return left > 0 && left <= downTime
}
