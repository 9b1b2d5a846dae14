package store

import "context"

// An Admin looks after a store, open in this process or in another one.
type Admin interface { //nolint:interfacebloat // one method for each command
	// List returns all images.
	List(ctx context.Context) ([]Item, error)
	// Usage says how full the store is.
	Usage(ctx context.Context) (Usage, error)
	// Pin and Unpin take a name of an image, or the end of one, and return the full name.
	Pin(ctx context.Context, name string) (string, error)
	Unpin(ctx context.Context, name string) (string, error)
	// Prune removes images until at most low bytes are left.
	Prune(ctx context.Context, low int64) (Collected, error)
	// Verify reports faults; Repair reports them and what it removed.
	Verify(ctx context.Context, report func(Fault)) error
	Repair(ctx context.Context, report func(Fault)) error
	// Close ends the connection, or closes the store.
	Close() error
}

var _ Admin = (*Store)(nil)
