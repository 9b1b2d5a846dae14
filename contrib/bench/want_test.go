package main

import (
	"testing"
	"time"
)

func TestWantsAreHeldAgainstMedians(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	peers := map[string]summary{"peer": {Median: 7 * time.Second}}
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
