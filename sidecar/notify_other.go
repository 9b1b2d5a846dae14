//go:build !linux

package sidecar

// monotonic is for systemd, which is not here.
func monotonic() string { return "" }
