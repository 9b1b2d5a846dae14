package filter

// pageSize is how many items are made room for at once.
const pageSize = 4096

// Pages hold very many small items, which never move: what is full is not copied
// into something larger, and is no garbage.
type pages[T any] struct {
	list []*[pageSize]T
	n    uint32
}

// at is the i-th item.
func (p *pages[T]) at(i uint32) *T { return &p.list[i/pageSize][i%pageSize] }

// add appends an item and says which one it is.
func (p *pages[T]) add(v T) uint32 {
	if p.n%pageSize == 0 {
		p.list = append(p.list, new([pageSize]T))
	}
	p.n++
	*p.at(p.n - 1) = v
	return p.n - 1
}
