package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// repoModel is what a repository is to have.
type repoModel struct {
	blobs     map[digest.Digest]bool
	manifests map[digest.Digest][]digest.Digest // and the blobs that it names
	tags      map[string]digest.Digest
}

// modelled is a store with what it is to have.
type modelled struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	s     *store.Store
	repos map[string]*repoModel // "SPACE/REPOSITORY"
	seen  map[digest.Digest]bool
}

// Whatever is done in whatever order, a store has what a few maps have.
func TestStoreIsLikeAFewMaps(t *testing.T) {
	t.Parallel()
	seeds, steps := 6, 150
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := &modelled{t: t, r: rand.New(rand.NewPCG(uint64(seed), 5)), dir: t.TempDir(), repos: map[string]*repoModel{}, seen: map[digest.Digest]bool{}}
			m.reopen()
			for range steps {
				m.step()
				if t.Failed() {
					return
				}
			}
			m.compare()
			clean(t, m.s)
			must(0, m.s.Close())(t)
		})
	}
}

func (m *modelled) reopen() {
	if m.s != nil {
		must(0, m.s.Close())(m.t)
	}
	m.s = must(store.Open(m.t.Context(), m.dir, store.Options{}))(m.t)
}

func (m *modelled) backend(space string) registry.Backend {
	return m.s.Space(space, store.SpaceOptions{Volatile: space == "mirror"}).Backend()
}

func (m *modelled) repo(space, name string) *repoModel {
	key := space + "/" + name
	if m.repos[key] == nil {
		m.repos[key] = &repoModel{blobs: map[digest.Digest]bool{}, manifests: map[digest.Digest][]digest.Digest{}, tags: map[string]digest.Digest{}}
	}
	return m.repos[key]
}

// step does something.
func (m *modelled) step() {
	space, name := []string{"push", "mirror"}[m.r.IntN(2)], []string{"a", "team/b"}[m.r.IntN(2)]
	b, repo, ctx := m.backend(space), m.repo(space, name), m.t.Context()
	switch m.r.IntN(12) {
	case 0, 1:
		d := must(upload(ctx, b, name, m.content()))(m.t)
		repo.blobs[d], m.seen[d] = true, true
	case 2, 3, 4:
		m.putImage(b, repo, name)
	case 5:
		m.mount(b, space, name)
	case 6:
		m.deleteBlob(b, repo, name)
	case 7:
		m.deleteTag(b, repo, name)
	case 8:
		m.deleteManifest(b, repo, name)
	case 9:
		must(m.s.Collect(ctx))(m.t)
	case 10:
		m.reopen()
	default:
		m.compare()
	}
}

// content is one of a few.
func (m *modelled) content() []byte { return fmt.Append(nil, "content ", m.r.IntN(8)) }

func (m *modelled) putImage(b registry.Backend, repo *repoModel, name string) {
	tag, label := fmt.Sprint("t", m.r.IntN(4)), fmt.Sprint("image ", m.r.IntN(5))
	layers := [][]byte{m.content(), m.content()}
	desc := must(push(m.t.Context(), b, name, label, nil, []string{tag}, layers...))(m.t)
	parts := []digest.Digest{digest.FromString(`{"name":"` + label + `"}`), digest.FromBytes(layers[0]), digest.FromBytes(layers[1])}
	for _, d := range parts {
		repo.blobs[d], m.seen[d] = true, true
	}
	repo.manifests[desc.Digest], repo.tags[tag] = parts, desc.Digest
}

func (m *modelled) mount(b registry.Backend, space, name string) {
	d, from := digest.FromBytes(m.content()), []string{"", "a", "team/b"}[m.r.IntN(3)]
	there := false
	for _, other := range []string{"a", "team/b"} {
		there = there || (from == "" || from == other) && m.repo(space, other).blobs[d]
	}
	err := b.Blobs.Mount(m.t.Context(), name, from, d)
	m.expect("mount", err, there)
	if there {
		m.repo(space, name).blobs[d] = true
	}
}

func (m *modelled) deleteBlob(b registry.Backend, repo *repoModel, name string) {
	d := digest.FromBytes(m.content())
	err := b.Blobs.Delete(m.t.Context(), name, d)
	for _, parts := range repo.manifests {
		if slices.Contains(parts, d) {
			var denied *registry.Error
			if !errors.As(err, &denied) || denied.Code != registry.Denied {
				m.t.Errorf("a blob was deleted that a manifest needs: %v", err)
			}
			return
		}
	}
	m.expect("delete a blob", err, repo.blobs[d])
	delete(repo.blobs, d)
}

func (m *modelled) deleteTag(b registry.Backend, repo *repoModel, name string) {
	tag := fmt.Sprint("t", m.r.IntN(4))
	_, there := repo.tags[tag]
	m.expect("delete a tag", b.Tags.Delete(m.t.Context(), name, tag), there)
	delete(repo.tags, tag)
}

func (m *modelled) deleteManifest(b registry.Backend, repo *repoModel, name string) {
	if len(repo.manifests) == 0 {
		return
	}
	d := slices.Sorted(maps.Keys(repo.manifests))[0]
	m.expect("delete a manifest", b.Manifests.Delete(m.t.Context(), name, d), true)
	delete(repo.manifests, d)
	maps.DeleteFunc(repo.tags, func(_ string, at digest.Digest) bool { return at == d })
	// Its blobs go with a collection after a while, or if another process has begun,
	// which does not know that they were used: all that is certain is that they may be
	// pushed again.
	for _, d := range must(m.lost(b, repo, name))(m.t) {
		delete(repo.blobs, d)
	}
}

// lost makes what is uncertain certain: blobs without a manifest are deleted.
func (m *modelled) lost(b registry.Backend, repo *repoModel, name string) (gone []digest.Digest, err error) {
	for d := range repo.blobs {
		if !slices.ContainsFunc(slices.Collect(maps.Values(repo.manifests)), func(parts []digest.Digest) bool { return slices.Contains(parts, d) }) {
			err = errors.Join(err, b.Blobs.Delete(m.t.Context(), name, d))
			gone = append(gone, d)
		}
	}
	return gone, err
}

func (m *modelled) expect(what string, err error, there bool) {
	m.t.Helper()
	if there && err != nil || !there && !errors.Is(err, pipeline.ErrNotFound) {
		m.t.Errorf("%s of what is there=%v: %v", what, there, err)
	}
}

// compare reads all that is to be there, and asks for what is not.
func (m *modelled) compare() {
	ctx := m.t.Context()
	for _, space := range []string{"push", "mirror"} {
		for _, name := range []string{"a", "team/b"} {
			b, repo := m.backend(space), m.repo(space, name)
			for d := range m.seen {
				err := reads(ctx, b, name, d)
				m.expect("blob "+space+"/"+name, err, repo.blobs[d])
			}
			tags, err := b.Tags.List(ctx, name, "", 100)
			if err != nil && !errors.Is(err, pipeline.ErrNotFound) || !slices.Equal(tags, slices.Sorted(maps.Keys(repo.tags))) {
				m.t.Errorf("%s/%s has tags %v, %v; want %v", space, name, tags, err, repo.tags)
			}
			for tag, d := range repo.tags {
				desc, err := b.Manifests.Stat(ctx, name, registry.Ref{Tag: tag})
				if err != nil || desc.Digest != d || desc.MediaType != ocispec.MediaTypeImageManifest {
					m.t.Errorf("%s/%s:%s is %v, %v; want %s", space, name, tag, desc, err, d)
				}
			}
			for d := range repo.manifests {
				if err := whole(ctx, b, name, registry.Ref{Digest: d}); err != nil {
					m.t.Errorf("%s/%s: %v", space, name, err)
				}
			}
		}
	}
}
