package main

import (
	"testing"
	"time"
)

func TestWantsAreHeldAgainstMedians(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	peers := map[string]summary{
		"peer": {Median: 7 * time.Second, amounts: amounts{Size: 1000}},
		"slow": {Median: 14 * time.Second},
	}
	made := func(n int64) summary { return summary{amounts: amounts{Size: n}} }
	for _, tc := range []struct {
		name string
		want want
		ours summary
		is   verdict
	}{
		{"ahead", aheadOf("peer"), summary{Median: 6 * time.Second}, pass},
		{"behind", aheadOf("peer"), summary{Median: 8 * time.Second}, fail},
		{"3.5 times faster", timesFaster("peer", 3.5), summary{Median: 2 * time.Second}, pass},
		{"not 3.5 times faster", timesFaster("peer", 3.5), summary{Median: 3 * time.Second}, fail},
		{"within 1.3 times", withinOf("peer"), summary{Median: 9 * time.Second}, pass},
		{"not within 1.3 times", withinOf("peer"), summary{Median: 10 * time.Second}, fail},
		{"faster is within", withinOf("peer"), summary{Median: time.Second}, pass},
		{"no such peer", aheadOf("somebody"), summary{Median: time.Second}, unknown},
		{"under the limit", below(time.Second), summary{Median: 999 * time.Millisecond}, pass},
		{"at the limit", below(time.Second), summary{Median: time.Second}, fail},
		{"a peer is faster than another", between("peer", "slow", 2), summary{}, pass},
		{"a peer is not faster", between("slow", "peer", 1), summary{}, fail},
		{"a peer that did not run", between("somebody", "peer", 1), summary{}, unknown},
		{"4 times faster than once", timesFasterThan("once", 8*time.Second, 4), summary{Median: 2 * time.Second}, pass},
		{"not 4 times faster than once", timesFasterThan("once", 8*time.Second, 4), summary{Median: 3 * time.Second}, fail},
		{"as small as the input", asSmallAs(1000, 0.01), made(1010), pass},
		{"larger than the input", asSmallAs(1000, 0.01), made(1011), fail},
		{"smaller than the input", asSmallAs(1000, 0.01), made(989), fail},
		{"as small as the peer", asSmallAsOf("peer", 0.01), made(990), pass},
		{"of unknown size", asSmallAsOf("slow", 0.01), made(990), unknown},
		{"little memory", littleMemory(), summary{MaxRSS: 128 * mib}, pass},
		{"much memory", littleMemory(), summary{MaxRSS: 129 * mib}, fail},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.want.judge(tc.ours, peers); got != tc.is {
				t.Errorf("%s: %s, want %s", tc.want.text, got, tc.is)
			}
		})
	}
}

func TestWithoutFiguresOfOursNothingIsJudged(t *testing.T) {
	t.Parallel()
	got := judge([]want{littleMemory()}, []series{{Contender: ours, Failed: "it broke"}})
	if len(got) != 1 || got[0].Verdict != unknown {
		t.Errorf("judged %v", got)
	}
}
