package store

// control is the socket by which other processes ask this one.
type control struct{}

func (*control) close() error { return nil }
