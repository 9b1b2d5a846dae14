package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// answer makes what a client is told of an upstream's failure. The failure itself is
// kept behind it, for the log.
//
//	404            404: containerd goes on to the next host
//	401, 403       403 DENIED: the client's own login has no part in it
//	429            429 with Retry-After. A 404 would be told to the user, and kept by
//	               some, as an image that does not exist; containerd goes on either way
//	anything else  502
func (u *upstream) answer(err error) error {
	var status *remote.StatusError
	var told *registry.Error
	switch {
	case err == nil, errors.As(err, &told), errors.Is(err, pipeline.ErrNotFound), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden):
		told = &registry.Error{Code: registry.Denied, Message: fmt.Sprintf("%s does not let this proxy read the image: give the proxy a login for it that may", u.Host)}
	case errors.As(err, &status) && status.Status == http.StatusTooManyRequests:
		told = u.busy(status.RetryAfter())
	default:
		told = &registry.Error{Code: "UNKNOWN", Status: http.StatusBadGateway, Message: fmt.Sprintf("%s could not be asked for the image, and what is kept here of it, if anything, is too old; try again later", u.Host)}
	}
	return fmt.Errorf("%w: %w", told, err)
}

// busy is the answer while an upstream takes no more requests.
func (u *upstream) busy(wait time.Duration) *registry.Error {
	return &registry.Error{
		Code: registry.TooManyRequests, Status: http.StatusTooManyRequests, RetryAfter: max(wait, time.Second),
		Message: fmt.Sprintf("%s takes no more requests for now, and the image is not kept here; try again later, or give the proxy a login for it", u.Host),
	}
}

// missing is the error for what is not there.
func missing(what string) error { return fmt.Errorf("%s: %w", what, pipeline.ErrNotFound) }
