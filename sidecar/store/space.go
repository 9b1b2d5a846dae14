package store

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// SpaceOptions are those of a space. They are not kept in the store: who opens the
// space tells them again, and always says the same of Volatile.
type SpaceOptions struct {
	// Age overrides Options.Age.
	Age time.Duration
	// Volatile is for what can be had again: nothing waits for the disk. A power failure
	// may lose what came in the last minutes; a killed process loses nothing.
	Volatile bool
	// Sparse accepts manifests that name blobs or manifests which are not there. Such an
	// image is whole with what it has.
	Sparse bool
}

// A Space is a set of repositories that shares only bytes with other ones: what is in
// one is seen in no other, and is mounted from no other.
type Space struct {
	s    *Store
	name string
	o    SpaceOptions
}

// Space returns a space by its name, which may be any. The options of the first call
// since Open count.
func (s *Store) Space(name string, o SpaceOptions) *Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.spaces[name]; sp != nil {
		return sp
	}
	sp := &Space{s: s, name: name, o: o}
	s.spaces[name] = sp
	return sp
}

// Name is the name of the space.
func (sp *Space) Name() string { return sp.name }

// Backend serves the space, with all that a registry has.
func (sp *Space) Backend() registry.Backend {
	return registry.Backend{
		Blobs: spaceBlobs{sp}, Uploads: spaceUploads{sp}, Manifests: spaceManifests{sp},
		Tags: spaceTags{sp}, Referrers: spaceReferrers{sp}, Sparse: sp.o.Sparse,
	}
}

// images is the database that has the space's manifests and tags.
func (sp *Space) images() *base {
	if sp.o.Volatile {
		return sp.s.cache
	}
	return sp.s.durable
}

// A place is a repository of a space.
type place struct{ space, repository string }

// namespace is the place's name in containerd's metadata, whose grammar has neither
// slashes nor room for long names. The real names are labels of the namespace.
func (p place) namespace() string {
	sum := sha256.Sum256([]byte(p.space + "\x00" + p.repository))
	return "r" + hex.EncodeToString(sum[:20])
}

func (sp *Space) place(repository string) place { return place{sp.name, repository} }
