package main

import (
	"fmt"
	"time"
)

// A verdict says whether a figure is what was wanted.
type verdict string

const (
	pass    verdict = "pass"
	fail    verdict = "FAIL"
	unknown verdict = "not measured" // the peer is missing
)

// A want is a figure that occystrap is to reach in a job.
type want struct {
	text  string
	judge func(ours summary, peers map[string]summary) verdict
}

// maxMemory is what no run of occystrap may exceed, whatever it moves.
const maxMemory = 128 << 20

// littleMemory wants the peak of resident memory below maxMemory.
func littleMemory() want {
	return want{
		text:  fmt.Sprintf("at most %d MiB resident", maxMemory>>20),
		judge: func(ours summary, _ map[string]summary) verdict { return verdictOf(ours.MaxRSS <= maxMemory) },
	}
}

// below wants a median wall time under a limit.
func below(limit time.Duration) want {
	return want{
		text:  "under " + limit.String(),
		judge: func(ours summary, _ map[string]summary) verdict { return verdictOf(ours.Median < limit) },
	}
}

// aheadOf wants a median that is smaller than the peer's.
func aheadOf(peer string) want {
	w := timesFaster(peer, 1)
	w.text = "ahead of " + peer
	return w
}

// timesFaster wants the peer's median to be at least factor times ours.
func timesFaster(peer string, factor float64) want {
	return against(peer, fmt.Sprintf("at least %g times faster than %s", factor, peer), func(ratio float64) bool { return ratio >= factor })
}

// withinOf wants our median to be at most judgeFactor times the peer's.
func withinOf(peer string) want {
	return against(peer, fmt.Sprintf("within %g times of %s", judgeFactor, peer), func(ratio float64) bool { return ratio*judgeFactor >= 1 })
}

// against judges the peer's median divided by ours.
func against(peer, text string, good func(ratio float64) bool) want {
	return want{text: text, judge: func(ours summary, peers map[string]summary) verdict {
		p, measured := peers[peer]
		if !measured || ours.Median == 0 {
			return unknown
		}
		return verdictOf(good(float64(p.Median) / float64(ours.Median)))
	}}
}

func verdictOf(good bool) verdict {
	if good {
		return pass
	}
	return fail
}
