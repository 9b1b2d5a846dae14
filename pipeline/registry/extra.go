package registry

import (
	"context"
	"net/http"
)

type headerKey struct{}

// withHeader lets a Backend reach the header of the answer to a request.
func withHeader(ctx context.Context, h http.Header) context.Context {
	return context.WithValue(ctx, headerKey{}, h)
}

// SetHeader sets a field in the header of the answer to the request that ctx belongs
// to, if that request succeeds. It is for Manifests.Put, and works until that
// returns, in its goroutine; elsewhere it does nothing. The value is one of the
// Backend's own making: letters, digits, a digest.
func SetHeader(ctx context.Context, name, value string) {
	if h, ok := ctx.Value(headerKey{}).(http.Header); ok {
		h.Set(name, value)
	}
}
