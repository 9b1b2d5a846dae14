package registry

import "context"

type reads struct{}

// Reads says whether who asks a Blobs to Stat a blob opens it next: a place that has
// to fetch the blob then does so at once, in place of asking for its size first.
func Reads(ctx context.Context) bool { return ctx.Value(reads{}) != nil }

// willRead is the context of a request that reads a blob.
func willRead(ctx context.Context) context.Context { return context.WithValue(ctx, reads{}, true) }
