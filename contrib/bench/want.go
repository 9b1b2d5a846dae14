package main

import (
	"fmt"
	"math"
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

// sidecarMemory wants the same of the sidecar.
func sidecarMemory(who string) want {
	return want{
		text: fmt.Sprintf("the sidecar at most %d MiB resident", maxMemory>>20),
		judge: func(_ summary, peers map[string]summary) verdict {
			if peers[who].Sidecar == 0 {
				return unknown
			}
			return verdictOf(peers[who].Sidecar <= maxMemory)
		},
	}
}

// memoryOf wants the daemon of the run below so many bytes.
func memoryOf(limit int64) want {
	return want{
		text: fmt.Sprintf("the daemon at most %d MiB resident", limit>>20),
		judge: func(ours summary, _ map[string]summary) verdict {
			if ours.Sidecar == 0 {
				return unknown
			}
			return verdictOf(ours.Sidecar <= limit)
		},
	}
}

// idleOf wants so little anonymous memory of a daemon that has nothing to do.
func idleOf(limit int64) want {
	return want{
		text: fmt.Sprintf("idle at most %d MiB of anonymous memory", limit>>20),
		judge: func(ours summary, _ map[string]summary) verdict {
			if ours.Idle == 0 {
				return unknown
			}
			return verdictOf(ours.Idle <= limit)
		},
	}
}

// firstWithin wants the first byte of a layer at most so long after the peer's.
func firstWithin(peer string, lag time.Duration) want {
	return want{
		text: fmt.Sprintf("first byte of a layer within %s of %s", lag, peer),
		judge: func(ours summary, peers map[string]summary) verdict {
			if ours.First == 0 || peers[peer].First == 0 {
				return unknown
			}
			return verdictOf(ours.First-peers[peer].First <= lag)
		},
	}
}

// rateOf and p99Of want as many requests a second, and each of nearly all in so long.
func rateOf(least float64) want {
	return want{
		text:  fmt.Sprintf("at least %.0f requests/s", least),
		judge: func(ours summary, _ map[string]summary) verdict { return verdictOf(ours.Rate >= least) },
	}
}

func p99Of(limit time.Duration) want {
	return want{
		text:  fmt.Sprintf("99 %% of the requests in %s", limit),
		judge: func(ours summary, _ map[string]summary) verdict { return verdictOf(ours.P99 > 0 && ours.P99 < limit) },
	}
}

// fetched wants so many blobs to have been fetched from upstream, and no more.
func fetched(blobs int64) want {
	return want{
		text:  fmt.Sprintf("%d blobs are fetched once each", blobs),
		judge: func(ours summary, _ map[string]summary) verdict { return verdictOf(ours.Fetches == blobs) },
	}
}

// notBehind wants one peer to take at most factor times as long as another.
func notBehind(who, of string, factor float64) want {
	return want{
		text: fmt.Sprintf("%s within %g times of %s", who, factor, of),
		judge: func(_ summary, peers map[string]summary) verdict {
			a, b := peers[who], peers[of]
			if a.Median == 0 || b.Median == 0 {
				return unknown
			}
			return verdictOf(float64(a.Median) <= factor*float64(b.Median))
		},
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
func withinOf(peer string) want { return noSlower(peer, judgeFactor) }

// noSlower wants our median to be at most factor times the peer's.
func noSlower(peer string, factor float64) want {
	return against(peer, fmt.Sprintf("within %g times of %s", factor, peer), func(ratio float64) bool { return ratio*factor >= 1 })
}

// between wants one peer to be at least factor times faster than another.
func between(who, than string, factor float64) want {
	w := timesFaster(than, factor)
	judge := w.judge
	return want{
		text: fmt.Sprintf("%s at least %g times faster than %s", who, factor, than),
		judge: func(_ summary, peers map[string]summary) verdict {
			p, measured := peers[who]
			if !measured {
				return unknown
			}
			return judge(p, peers)
		},
	}
}

// timesFasterThan wants the median to be factor times smaller than a time that
// was measured elsewhere.
func timesFasterThan(what string, took time.Duration, factor float64) want {
	return want{
		text: fmt.Sprintf("at least %g times faster than %s (%s)", factor, what, took),
		judge: func(ours summary, _ map[string]summary) verdict {
			return verdictOf(float64(ours.Median)*factor <= float64(took))
		},
	}
}

// asSmallAs wants the layers that were made to be as many bytes as those that
// went in, give or take a share.
func asSmallAs(input int64, share float64) want {
	return want{
		text:  fmt.Sprintf("size within %g %% of the input", share*100),
		judge: func(ours summary, _ map[string]summary) verdict { return sizes(ours.Size, input, share) },
	}
}

// asSmallAsOf wants them to be as many bytes as those of a peer.
func asSmallAsOf(peer string, share float64) want {
	return want{
		text: fmt.Sprintf("size within %g %% of %s", share*100, peer),
		judge: func(ours summary, peers map[string]summary) verdict {
			return sizes(ours.Size, peers[peer].Size, share)
		},
	}
}

func sizes(ours, theirs int64, share float64) verdict {
	if ours == 0 || theirs == 0 {
		return unknown
	}
	return verdictOf(math.Abs(float64(ours-theirs)) <= share*float64(theirs))
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
