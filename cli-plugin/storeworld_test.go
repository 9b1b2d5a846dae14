package cliplugin_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// mkstore DIR REPOSITORY:TAG… makes a store with small images.
func makeStore(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkstore DIR REPOSITORY:TAG…")
	}
	s, err := store.Open(context.Background(), ts.MkAbs(args[0]), store.Options{})
	ts.Check(err)
	b := s.Space("push", store.SpaceOptions{}).Backend()
	for _, name := range args[1:] {
		repository, tag, _ := strings.Cut(name, ":")
		ts.Check(storeImage(b, repository, tag))
	}
	ts.Check(s.Close())
}

// storeImage pushes an image whose config is all that there is.
func storeImage(b registry.Backend, repository, tag string) (err error) {
	ctx := context.Background()
	config := `{"name":"` + repository + ":" + tag + `"}`
	up, err := b.Uploads.Begin(ctx, repository, "config-"+tag)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, up.Close()) }()
	if _, err := io.WriteString(up, config); err != nil {
		return err
	}
	d := digest.FromString(config)
	if err := up.Commit(ctx, d); err != nil {
		return err
	}
	raw := `{"schemaVersion":2,"config":{"mediaType":"` + ocispec.MediaTypeImageConfig + `","digest":"` + d.String() + `","size":2},"layers":[]}`
	m, err := registry.ParseManifest(ocispec.MediaTypeImageManifest, []byte(raw), digest.SHA256)
	if err != nil {
		return err
	}
	return b.Manifests.Put(ctx, repository, m, []string{tag})
}

// spoilstore DIR REPOSITORY:TAG changes a byte of what an image needs.
func spoilStore(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: spoilstore DIR REPOSITORY:TAG")
	}
	path := filepath.Join(ts.MkAbs(args[0]), "blobs", "sha256", digest.FromString(`{"name":"`+args[1]+`"}`).Encoded())
	raw, err := os.ReadFile(path)
	ts.Check(err)
	raw[0]++
	ts.Check(errors.Join(os.Remove(path), os.WriteFile(path, raw, 0o600)))
}
