package main

import (
	"testing"
	"time"
)

func TestMedianIsTheMiddleOrTheMeanOfTheMiddle(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   []int64
		want int64
	}{
		{"nothing", nil, 0},
		{"one", []int64{7}, 7},
		{"odd, not in order", []int64{9, 1, 5}, 5},
		{"even", []int64{10, 2, 4, 100}, 7},
		{"an outlier does not count", []int64{3, 3, 1000, 3, 3}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := append([]int64{}, tc.in...)
			if got := median(in); got != tc.want {
				t.Errorf("median is %d, want %d", got, tc.want)
			}
			for i := range in {
				if in[i] != tc.in[i] {
					t.Error("median changed the order of its argument")
				}
			}
		})
	}
}

func TestSummaryTakesTheHighestMemoryAndMedianTimes(t *testing.T) {
	t.Parallel()
	got := summarize([]sample{
		{usage: usage{Wall: 3 * time.Second, User: 1, System: 30, MaxRSS: 10}, Others: 0.5},
		{usage: usage{Wall: 1 * time.Second, User: 3, System: 10, MaxRSS: 90}, Others: 0.1},
		{usage: usage{Wall: 2 * time.Second, User: 2, System: 20, MaxRSS: 20}, Others: 0.2},
	})
	want := summary{
		Median: 2 * time.Second, Min: time.Second, Max: 3 * time.Second,
		User: 2, System: 20, MaxRSS: 90, Others: 0.2,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
