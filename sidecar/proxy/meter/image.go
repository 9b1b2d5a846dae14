package meter

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// An Image is one that was pushed or pulled through, whole or in vain.
type Image struct {
	// Pull says that it came from an upstream; else a client pushed it.
	Pull bool
	// Host is the upstream or downstream, where there is one.
	Host string
	// Repository and Tags are its names; Tags may be empty.
	Repository string
	Tags       []string
	// Received is the digest of what came, Stored of what is kept; they are equal
	// where no filter changed it.
	Received, Stored string
	// Bytes came, Reused were there already.
	Bytes, Reused int64
	// Duration is from its first byte, or its manifest, to the end.
	Duration time.Duration
	// Err is why it failed; nil when it did not. Its text holds no secret.
	Err error
}

// Indices of Meter.images.
const (
	pushed = iota
	pushFailed
	pulled
	pullFailed
	imageCounts
)

// Image counts an image and writes its line.
func (m *Meter) Image(i Image) {
	if m == nil {
		return
	}
	n, message, level := pushed, "pushed", slog.LevelInfo
	if i.Pull {
		n, message = pulled, "pulled"
	}
	attrs := []slog.Attr{slog.String("repository", i.Repository)}
	for _, a := range [...]struct{ key, value string }{
		{"tag", strings.Join(i.Tags, ",")}, {"host", i.Host}, {"received", i.Received}, {"stored", i.Stored},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	attrs = append(attrs, slog.Int64("bytes", i.Bytes), slog.Int64("reused", i.Reused), slog.Duration("duration", i.Duration.Round(time.Millisecond)))
	if i.Err != nil {
		n, message, level = n+1, "not "+message, slog.LevelWarn
		attrs = append(attrs, slog.String("error", i.Err.Error()))
	}
	m.images[n].Add(1)
	m.cfg.Log.LogAttrs(context.Background(), level, message, attrs...)
}
