package compare

import (
	"bytes"
	"context"
	"iter"
)

// A node is what is visible at a place of an image. It is valid until the next one
// is asked for.
type node struct {
	key      []byte
	record   []byte // what the layer at position says
	position int
	seq      uint64
}

// A level is a directory above the place at hand: of the layers below floor,
// nothing of what it holds is visible.
type level struct{ end, floor int }

// levels are the directories above the place at hand that some layer mentions.
type levels struct {
	path  []byte
	stack []level
}

// enter goes to a place, and returns the floor there.
func (l *levels) enter(key []byte) int {
	for n := len(l.stack); n > 0 && !under(key, l.path[:l.stack[n-1].end]); n = len(l.stack) {
		l.stack = l.stack[:n-1]
	}
	if n := len(l.stack); n > 0 {
		return l.stack[n-1].floor
	}
	return 0
}

// push says what holds below the place that was entered.
func (l *levels) push(key []byte, floor int) {
	l.path = append(l.path[:0], key...)
	l.stack = append(l.stack, level{len(key), floor})
}

// under says whether a place is below a directory.
func under(key, dir []byte) bool {
	return len(key) > len(dir) && bytes.HasPrefix(key, dir) && (len(dir) == 0 || key[len(dir)] == separator)
}

// judge says what of a group is visible, if anything, and the floor for what is
// below: a whiteout hides lower layers only, and so does what is no directory.
func (g *group) judge(floor int) (visible *item, below int) {
	for _, i := range g.items {
		if i.kind() == gone {
			floor = max(floor, i.position)
		}
	}
	below = floor
	last := -1
	var needed *item // a directory that is only implied, so far
	for n, i := range g.items {
		switch k := i.kind(); {
		case k == opaque:
			below = max(below, i.position)
		case k == gone, i.position < floor, i.position == last: // of two in one layer the later counts
		case k == implied:
			if needed == nil {
				needed = &g.items[n]
			}
		default:
			last = i.position
			if k != dir {
				below = max(below, i.position+1)
			}
			if visible != nil {
				continue
			}
			visible = &g.items[n]
			if k != dir && needed != nil && needed.position > i.position { // as overlayfs has it
				visible = needed
			}
		}
	}
	if visible == nil {
		visible = needed
	}
	return visible, below
}

// visible yields what a container would see of an image, in order. What is below
// something that a lower layer has as no directory makes it one.
func (s *shelf) visible(ctx context.Context, layers []layerRuns) iter.Seq2[node, error] {
	return func(yield func(node, error) bool) {
		var l levels
		for g, err := range s.groups(ctx, layers) {
			if err != nil {
				yield(node{}, err)
				return
			}
			i, below := g.judge(l.enter(g.key))
			l.push(g.key, below)
			if i != nil && !yield(node{g.key, i.record, i.position, i.seq}, nil) {
				return
			}
		}
	}
}
