package store

import "github.com/opencontainers/go-digest"

// A balance counts what would be left on disk without some images. A blob goes when no
// repository needs it, and a repository needs what an image or a lease of it has.
type balance struct {
	m     *model
	needs map[*repo]map[digest.Digest]int
	held  map[digest.Digest]int // by how many repositories
	total int64
}

// balance counts what all images and leases need; what is garbage counts as gone.
func (m *model) balance(list []*image) *balance {
	b := &balance{m: m, needs: map[*repo]map[digest.Digest]int{}, held: map[digest.Digest]int{}}
	for _, r := range m.repos {
		b.needs[r] = map[digest.Digest]int{}
		for d := range r.leased {
			b.add(r, d)
		}
	}
	for _, i := range list {
		for d := range i.all {
			b.add(i.r, d)
		}
	}
	return b
}

func (b *balance) add(r *repo, d digest.Digest) {
	if b.needs[r][d]++; b.needs[r][d] > 1 {
		return
	}
	if b.held[d]++; b.held[d] == 1 {
		b.total += b.m.sizes[d]
	}
}

// drop counts an image as gone.
func (b *balance) drop(i *image) {
	for d := range i.all {
		if b.needs[i.r][d]--; b.needs[i.r][d] > 0 {
			continue
		}
		if b.held[d]--; b.held[d] == 0 {
			b.total -= b.m.sizes[d]
		}
	}
}
