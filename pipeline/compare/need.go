package compare

import "context"

// needsShared says whether what the images show depends on the layers at the
// bottom that both have, given the layers above. It does not where at every path
// that one of them mentions, both hide or both show what is below.
func (c *Comparison) needsShared(ctx context.Context) (bool, error) {
	if c.shared == 0 {
		return false, nil
	}
	var at [2]levels
	a, b := c.shelf.groups(ctx, c.A.layers), c.shelf.groups(ctx, c.B.layers)
	for pair, err := range pairs(a, b, func(g *group) []byte { return g.key }) {
		if err != nil {
			return false, err
		}
		key := (*pairOf(pair)).key
		var shows [2]exposure // of what the shared layers have there
		var below [2]bool     // whether what they have below it shows
		for i, g := range pair {
			floor := at[i].enter(key)
			shows[i], below[i] = covered, floor < c.shared
			if below[i] {
				shows[i] = bare
			}
			if g == nil {
				continue
			}
			_, deeper := (*g).judge(floor)
			at[i].push(key, deeper)
			if below[i] {
				shows[i] = (*g).exposes()
			}
			below[i] = deeper < c.shared
		}
		if shows[0] != shows[1] || below[0] != below[1] {
			return true, nil
		}
	}
	return false, nil
}

// An exposure is how much of what is at a place in lower layers shows.
type exposure int

const (
	bare    exposure = iota // all
	lined                   // whatever it is, it is a directory
	covered                 // nothing
)

// exposes says what the layers of a group leave to see of those below them.
func (g *group) exposes() exposure {
	out := bare
	for _, i := range g.items {
		switch i.kind() {
		case opaque:
		case implied:
			out = max(out, lined)
		default:
			return covered
		}
	}
	return out
}

func pairOf[T any](pair [2]*T) *T {
	if pair[0] != nil {
		return pair[0]
	}
	return pair[1]
}
