package check

import (
	"container/heap"
	"slices"
	"strconv"
)

// How an entry gets hidden.
const (
	Replaced = "replaced"
	Deleted  = "deleted"
)

// Waste is what is in an image's layers and not in the finished image.
type Waste struct {
	// Total is the bytes of all files of all layers, Wasted those of files that
	// a later layer replaces or deletes.
	Total, Wasted int64
	// Count is how many files that are, without empty ones.
	Count int
	// Efficiency is the figure of dive: the sum of the smallest size of each path,
	// against that of all sizes. A deleted file's smallest size is 0; where a
	// directory is deleted, its content counts as one more file. 1 is best.
	Efficiency float64
	// Largest are the files with the most bytes, the largest first.
	Largest []Wasted
}

// Wasted is a file that a later layer hides.
type Wasted struct {
	Path string
	Size int64
	// Layer has it and By hides it, counted from 0 for the lowest.
	Layer, By int
	How       string
}

// Percent is the wasted part of all bytes of files.
func (w *Waste) Percent() float64 {
	if w.Total == 0 {
		return 0
	}
	return 100 * float64(w.Wasted) / float64(w.Total)
}

// keptWasted is how many files are named.
const keptWasted = 100

type wasteCounter struct {
	Waste
	least   int64 // the smallest sizes of all paths
	deletes int64 // bytes that go with their directories
	top     wastedHeap
}

func newWasteCounter() *wasteCounter { return &wasteCounter{} }

// add counts an entry of layer i; by is the layer that hides it, counted from 1,
// and alone says that it is deleted by itself and not with its directory.
func (w *wasteCounter) add(i int, it item, by uint32, how string, alone bool) {
	w.Total += it.size
	if by == 0 || it.size == 0 {
		return
	}
	w.Wasted += it.size
	w.Count++
	if how == Deleted && !alone {
		w.deletes += it.size
	}
	if len(w.top) == keptWasted && w.top[0].Size >= it.size {
		return
	}
	heap.Push(&w.top, Wasted{Path: string(it.name), Size: it.size, Layer: i, By: int(by) - 1, How: how})
	if len(w.top) > keptWasted {
		heap.Pop(&w.top)
	}
}

func (w *wasteCounter) result() *Waste {
	out := w.Waste
	out.Efficiency = 1
	if all := w.Total + w.deletes; all > 0 {
		out.Efficiency = float64(w.least+w.deletes) / float64(all)
	}
	out.Largest = slices.Clone(w.top)
	slices.SortFunc(out.Largest, func(a, b Wasted) int {
		switch {
		case a.Size != b.Size && a.Size > b.Size:
			return -1
		case a.Size != b.Size:
			return 1
		case a.Path != b.Path && a.Path < b.Path:
			return -1
		case a.Path != b.Path:
			return 1
		}
		return a.Layer - b.Layer
	})
	return &out
}

// wastedHeap has the smallest on top.
type wastedHeap []Wasted

var _ heap.Interface = (*wastedHeap)(nil)

func (h wastedHeap) Len() int           { return len(h) }
func (h wastedHeap) Less(i, j int) bool { return h[i].Size < h[j].Size }
func (h wastedHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wastedHeap) Push(x any)        { *h = append(*h, x.(Wasted)) }
func (h *wastedHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// count is a number with its noun; one and many, or one with an s.
func count(n int, one string, many ...string) string {
	if n == 1 {
		return "1 " + one
	}
	if len(many) > 0 {
		return strconv.Itoa(n) + " " + many[0]
	}
	return strconv.Itoa(n) + " " + one + "s"
}
