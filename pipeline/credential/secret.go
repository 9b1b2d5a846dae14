package credential

import (
	"fmt"
	"io"
	"log/slog"
)

// A Secret is a password or token. However it is printed, logged or marshalled,
// it shows as ***; an empty one shows as nothing.
type Secret string

var (
	_ fmt.Formatter  = Secret("")
	_ slog.LogValuer = Secret("")
)

const mask = "***"

// Reveal returns the secret itself, to be sent to whom it is meant for.
func (s Secret) Reveal() string { return string(s) }

// String is *** or nothing.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// Format prints the same for every verb, so that %q, %x and %#v hide it too.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String()) // A State cannot fail in a way that we could tell.
}

// MarshalText hides the secret from JSON, TOML and their like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
