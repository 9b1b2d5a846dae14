package main

import (
	"cmp"
	"slices"
	"time"
)

// A sample is one run of a contender that counts.
type sample struct {
	usage
	amounts
	// Others is the part of the machine, 0 to 1, that went to neither the
	// contender nor the registry while it ran.
	Others float64
}

// amounts are the bytes that went through a contender, where it is known.
type amounts struct {
	Plain int64 `json:",omitempty"` // uncompressed
	Size  int64 `json:",omitempty"` // of the layers that it made
	// Disk is by how much the disk was fuller while it ran than before, at most.
	Disk int64 `json:",omitempty"`
	// Sidecar is the most memory that occystrapd has had so far.
	Sidecar int64 `json:",omitempty"`
	// Idle is the anonymous memory that it has when nothing goes on.
	Idle int64 `json:",omitempty"`
	// First is when the client had the first byte of a layer.
	First time.Duration `json:",omitempty"`
	// Rate is requests a second, and P99 what all but a hundredth of them took at most.
	Rate float64       `json:",omitempty"`
	P99  time.Duration `json:",omitempty"`
	// Fetches is how often blobs were asked of the upstream.
	Fetches int64 `json:",omitempty"`
}

// A summary is what the table says of a contender's samples.
type summary struct {
	Median, Min, Max time.Duration // wall time
	User, System     time.Duration // medians
	MaxRSS           int64         // the highest of all runs, in bytes
	Others           float64       // median
	amounts                        // the largest; of times and rates medians
}

// summarize works out the figures of a contender; there is at least one sample.
func summarize(samples []sample) summary {
	walls := each(samples, func(s sample) time.Duration { return s.Wall })
	return summary{
		Median: median(walls),
		Min:    slices.Min(walls),
		Max:    slices.Max(walls),
		User:   median(each(samples, func(s sample) time.Duration { return s.User })),
		System: median(each(samples, func(s sample) time.Duration { return s.System })),
		MaxRSS: slices.Max(each(samples, func(s sample) int64 { return s.MaxRSS })),
		Others: median(each(samples, func(s sample) float64 { return s.Others })),
		amounts: amounts{
			Plain: slices.Max(each(samples, func(s sample) int64 { return s.Plain })),
			Size:  slices.Max(each(samples, func(s sample) int64 { return s.Size })),

			Disk:    slices.Max(each(samples, func(s sample) int64 { return s.Disk })),
			Sidecar: slices.Max(each(samples, func(s sample) int64 { return s.Sidecar })),
			Idle:    slices.Max(each(samples, func(s sample) int64 { return s.Idle })),
			Fetches: slices.Max(each(samples, func(s sample) int64 { return s.Fetches })),

			First: median(each(samples, func(s sample) time.Duration { return s.First })),
			P99:   median(each(samples, func(s sample) time.Duration { return s.P99 })),
			Rate:  median(each(samples, func(s sample) float64 { return s.Rate })),
		},
	}
}

// number is what a median can be taken of.
type number interface {
	cmp.Ordered
	~int64 | ~float64
}

// median is the middle value, or the mean of the two in the middle.
func median[T number](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}
