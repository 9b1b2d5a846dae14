package pull

import (
	"encoding/json"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Times of a tag, where an upstream says nothing else. A time below zero is none.
const (
	// DefaultTTL is how long a tag is believed without a question.
	DefaultTTL = 5 * time.Minute
	// DefaultStaleWhile is for how long after that it is answered at once, while it is
	// checked in the background.
	DefaultStaleWhile = 10 * time.Minute
	// DefaultStaleError is how long after its TTL a tag is answered while its registry
	// cannot be asked: a week outlasts most outages, and a weekend.
	DefaultStaleError = 7 * 24 * time.Hour
)

// Times say how long a tag is believed (RFC 5861 has the two last).
type Times struct {
	TTL, StaleWhile, StaleError time.Duration
}

// withDefaults fills in what is zero, and makes none of what is below.
func (t Times) withDefaults() Times {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&t.TTL, DefaultTTL}, {&t.StaleWhile, DefaultStaleWhile}, {&t.StaleError, DefaultStaleError}} {
		switch {
		case *d.at == 0:
			*d.at = d.def
		case *d.at < 0:
			*d.at = 0
		}
	}
	return t
}

// A state is what may be done with a tag that was checked some time ago.
type state int

const (
	fresh   state = iota // answer
	aging                // answer, and check in the background
	stale                // check; answer it if nobody can be asked
	expired              // check
)

// of is the state of a tag. One that was checked in the future, since the clock was
// set back, is stale: its age is not known.
func (t Times) of(checked, now time.Time) state {
	age := now.Sub(checked)
	switch {
	case age < 0:
		return stale
	case age < t.TTL:
		return fresh
	case age < t.TTL+t.StaleWhile:
		return aging
	case age < t.TTL+t.StaleError:
		return stale
	default:
		return expired
	}
}

// A note is what is known of a tag upstream, as a fact of the mirror.
type note struct {
	// Checked is when the upstream last told it.
	Checked time.Time `json:"checked"`
	// Desc is what the tag pointed at.
	Desc ocispec.Descriptor `json:"desc"`
}

func tagFact(tag string) string { return "tag/" + tag }

func (n note) encode() ([]byte, error) { return json.Marshal(n) }

// decodeNote reads a note; one that cannot be read is none.
func decodeNote(raw []byte) (n note, ok bool) {
	if json.Unmarshal(raw, &n) != nil || n.Desc.Digest.Validate() != nil {
		return note{}, false
	}
	return n, true
}
