package pipelinetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// TestBackend runs the conformance suite of registry.Backends that can be pushed
// to: what registry.Handler relies on. fresh returns a new, empty one.
func TestBackend(t *testing.T, fresh func(t *testing.T) registry.Backend) { //nolint:tparallel // the test that calls it says so
	t.Helper()
	for name, rule := range map[string]func(*backend){
		"BlobIsSeenAfterCommitOnly":                (*backend).blobAfterCommit,
		"EmptyBlobIsABlob":                         (*backend).emptyBlob,
		"UploadGoesOnWhereItEnded":                 (*backend).uploadGoesOn,
		"UploadBelongsToItsRepository":             (*backend).uploadOfRepository,
		"CancelledUploadIsGone":                    (*backend).cancelled,
		"BlobIsReadFromAnyOffset":                  (*backend).offsets,
		"BlobBelongsToItsRepositoryUntilMounted":   (*backend).mounts,
		"DeletedBlobIsGoneFromOneRepository":       (*backend).deletesBlob,
		"ManifestIsFoundByTagAndDigest":            (*backend).manifests,
		"TagMovesAndGoes":                          (*backend).tags,
		"TagsAreListedInOrder":                     (*backend).tagList,
		"ReferrersAreThoseOfTheirRepository":       (*backend).referrers,
		"UploadsAtOnceDoNotMix":                    (*backend).atOnce,
		"BlobsAreServedAsTheSpecificationSays":     (*backend).servesBlobs,
		"ManifestsAreServedAsTheSpecificationSays": (*backend).servesShapes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rule(&backend{fresh(t), t})
		})
	}
}

// Two repositories, and names of uploads as a Handler makes them.
const (
	repoA   = "team/app"
	repoB   = "other"
	upload1 = "00000000-0000-4000-8000-000000000001"
)

type backend struct {
	registry.Backend
	t *testing.T
}

func (b *backend) ctx() context.Context { return b.t.Context() }

// must ends the test on an error.
func (b *backend) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// missing complains unless err says that something is not there.
func (b *backend) missing(what string, err error) {
	b.t.Helper()
	if !errors.Is(err, pipeline.ErrNotFound) {
		b.t.Errorf("%s: %v; want pipeline.ErrNotFound", what, err)
	}
}

// begin starts an upload and writes to it.
func (b *backend) begin(repository, id, content string) registry.Upload {
	b.t.Helper()
	up, err := b.Uploads.Begin(b.ctx(), repository, id)
	b.must(err)
	b.t.Cleanup(func() { _ = up.Close() })
	_, err = io.WriteString(up, content)
	b.must(err)
	return up
}

// push stores a blob.
func (b *backend) push(repository string, content []byte) digest.Digest {
	b.t.Helper()
	d := digest.FromBytes(content)
	b.must(b.begin(repository, upload1, string(content)).Commit(b.ctx(), d))
	return d
}

// holds complains unless the repository has the blob, whole.
func (b *backend) holds(repository string, d digest.Digest, content string) {
	b.t.Helper()
	size, err := b.Blobs.Stat(b.ctx(), repository, d)
	b.must(err)
	rc, err := b.Blobs.Open(b.ctx(), repository, d, 0)
	b.must(err)
	defer rc.Close()
	got, err := io.ReadAll(rc)
	b.must(err)
	if size != int64(len(content)) || string(got) != content {
		b.t.Errorf("blob %s has size %d and bytes %.40q; want %.40q", d, size, got, content)
	}
}

// lacks complains if the repository has the blob.
func (b *backend) lacks(repository string, d digest.Digest) {
	b.t.Helper()
	_, err := b.Blobs.Stat(b.ctx(), repository, d)
	b.missing("Stat", err)
	rc, err := b.Blobs.Open(b.ctx(), repository, d, 0)
	if err == nil {
		_ = rc.Close()
	}
	b.missing("Open", err)
}

func (b *backend) blobAfterCommit() {
	for i, d := range []digest.Digest{digest.FromString("content"), digest.SHA512.FromString("content")} {
		up := b.begin(repoA, fmt.Sprintf("00000000-0000-4000-8000-%012d", i), "content")
		b.lacks(repoA, d)
		b.must(up.Commit(b.ctx(), d))
		b.must(up.Close())
		b.holds(repoA, d, "content")
	}
	b.push(repoA, []byte("content")) // once more is no error
	_, err := b.Uploads.Resume(b.ctx(), repoA, upload1)
	b.missing("Resume after Commit", err)
}

func (b *backend) emptyBlob() {
	b.holds(repoA, b.push(repoA, nil), "")
}

func (b *backend) uploadGoesOn() {
	b.must(b.begin(repoA, upload1, "first ").Close())
	up, err := b.Uploads.Resume(b.ctx(), repoA, upload1)
	b.must(err)
	defer up.Close()
	if up.Size() != 6 {
		b.t.Errorf("the upload goes on at %d, not 6", up.Size())
	}
	_, err = io.WriteString(up, "second")
	b.must(err)
	other, err := b.Uploads.Resume(b.ctx(), repoA, upload1)
	b.must(err)
	if other.Size() != 12 {
		b.t.Errorf("another request sees %d bytes, not 12", other.Size())
	}
	b.must(other.Close())
	rc, err := up.Open(b.ctx())
	b.must(err)
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil || string(got) != "first second" {
		b.t.Errorf("Open reads %q, %v", got, err)
	}
	d := digest.FromString("first second")
	b.must(up.Commit(b.ctx(), d))
	b.holds(repoA, d, "first second")
}

func (b *backend) uploadOfRepository() {
	b.must(b.begin(repoA, upload1, "x").Close())
	_, err := b.Uploads.Resume(b.ctx(), repoB, upload1)
	b.missing("Resume elsewhere", err)
	b.missing("Cancel elsewhere", b.Uploads.Cancel(b.ctx(), repoB, upload1))
	up, err := b.Uploads.Resume(b.ctx(), repoA, upload1)
	b.must(err)
	b.must(up.Close())
}

func (b *backend) cancelled() {
	up := b.begin(repoA, upload1, "x")
	b.must(b.Uploads.Cancel(b.ctx(), repoA, upload1))
	_, err := b.Uploads.Resume(b.ctx(), repoA, upload1)
	b.missing("Resume", err)
	b.missing("Cancel twice", b.Uploads.Cancel(b.ctx(), repoA, upload1))
	_, writes := io.WriteString(up, "y")
	if commits := up.Commit(b.ctx(), digest.FromString("x")); writes == nil && commits == nil {
		b.t.Error("a cancelled upload could be written to and committed")
	}
	b.lacks(repoA, digest.FromString("x"))
}

func (b *backend) offsets() {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	d := b.push(repoA, content)
	for _, offset := range []int64{0, 1, 999_999, 1_000_000} {
		rc, err := b.Blobs.Open(b.ctx(), repoA, d, offset)
		b.must(err)
		got, err := io.ReadAll(rc)
		b.must(err)
		b.must(rc.Close())
		if !bytes.Equal(got, content[offset:]) {
			b.t.Errorf("from %d on come %d other bytes", offset, len(got))
		}
	}
}

func (b *backend) mounts() {
	d := b.push(repoA, []byte("shared"))
	b.lacks(repoB, d)
	b.missing("Mount from where it is not", b.Blobs.Mount(b.ctx(), repoB, "third", d))
	b.lacks(repoB, d)
	b.must(b.Blobs.Mount(b.ctx(), repoB, repoA, d))
	b.holds(repoB, d, "shared")
	b.must(b.Blobs.Mount(b.ctx(), "third", "", d))
	b.holds("third", d, "shared")
	b.missing("Mount of nothing", b.Blobs.Mount(b.ctx(), repoB, "", digest.FromString("nothing")))
}

func (b *backend) deletesBlob() {
	d := b.push(repoA, []byte("shared"))
	b.must(b.Blobs.Mount(b.ctx(), repoB, repoA, d))
	b.must(b.Blobs.Delete(b.ctx(), repoA, d))
	b.lacks(repoA, d)
	b.holds(repoB, d, "shared")
	b.missing("Delete twice", b.Blobs.Delete(b.ctx(), repoA, d))
}

func (b *backend) atOnce() {
	var g errgroup.Group
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i % 4)}, 200_000) } // some are the same
	for i := range 16 {
		g.Go(func() error {
			up, err := b.Uploads.Begin(b.ctx(), repoA, fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
			if err != nil {
				return err
			}
			defer up.Close()
			if _, err := io.Copy(up, bytes.NewReader(content(i))); err != nil {
				return err
			}
			return up.Commit(b.ctx(), digest.FromBytes(content(i)))
		})
	}
	b.must(g.Wait())
	for i := range 4 {
		b.holds(repoA, digest.FromBytes(content(i)), string(content(i)))
	}
}
