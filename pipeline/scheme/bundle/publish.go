package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
	"github.com/occystrap/occystrap/pipeline/internal/runtimespec"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// The names of a bundle (runtime-spec, bundle.md; the last one is of the Python
// tool).
const (
	rootfsName      = runtimespec.RootFS
	configName      = runtimespec.Config
	imageConfigName = "container-config.json"
)

// Publish unpacks the image, and puts the bundle in place of the one before.
func (s *sink) Publish(ctx context.Context) error {
	err := s.begin(ctx)
	if err != nil {
		return err
	}
	err = s.publish(ctx)
	s.published = err == nil
	return s.explain(err)
}

func (s *sink) publish(ctx context.Context) error {
	raw, config, err := s.image()
	if err != nil {
		return err
	}
	fresh := map[string]string{} // temporary names
	var user specs.User
	if fresh[rootfsName], user, err = s.unpack(ctx, config); err != nil {
		return err
	}
	options := s.options
	options.Stat = func(dir string) (fs.FileInfo, error) { return s.session.Root.Stat(fresh[rootfsName] + dir) }
	spec, notes := runtimespec.New(config, user, options)
	for _, n := range notes {
		s.cfg.Events.Warn(s.path + ": " + n)
	}
	text, err := staging.JSON(spec)
	if err != nil {
		return err
	}
	for name, body := range map[string][]byte{configName: text, imageConfigName: raw} {
		if fresh[name], err = s.session.WriteTemp(body); err != nil {
			return fmt.Errorf("%s: %w", name, staging.Cause(err))
		}
	}
	unlock, err := s.session.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := fits(s.session.Root); err != nil {
		return err
	}
	return s.replace(fresh)
}

// image is the config of the one image that came.
func (s *sink) image() (raw []byte, c runtimespec.Image, err error) {
	i := slices.IndexFunc(s.manifests, func(m pipeline.Manifest) bool { return m.Root })
	if i < 0 || pipeline.IsIndex(s.manifests[i].Desc.MediaType) {
		return nil, c, errNoImage
	}
	m := s.manifests[i]
	var fields struct {
		Config ocispec.Descriptor `json:"config"`
	}
	if err := json.Unmarshal(m.Raw, &fields); err != nil {
		return nil, c, fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
	}
	if t := fields.Config.MediaType; t != ocispec.MediaTypeImageConfig && t != pipeline.MediaTypeDockerConfig {
		return nil, c, errNoImage
	}
	if err := json.Unmarshal(m.Config, &c); err != nil {
		return nil, c, fmt.Errorf("config %s: %w", fields.Config.Digest, err)
	}
	if c.OS != "" && c.OS != "linux" {
		return nil, c, fmt.Errorf("the image is for %s, and a bundle is run by Linux; choose another image with --platform", c.OS)
	}
	return m.Config, c, nil
}

// unpack makes the file system under a temporary name, and finds in it who the
// image runs as.
func (s *sink) unpack(ctx context.Context, c runtimespec.Image) (temp string, user specs.User, err error) {
	l := s.cfg.Limits.WithDefaults()
	opts := rootfs.Options{Entries: l.Entries, Sparse: l.Layer}
	temp, left, err := s.session.Unpack(opts, func(tree *rootfs.Tree) (err error) {
		for i, d := range c.RootFS.DiffIDs {
			if err := s.apply(ctx, tree, d, c.RootFS.DiffIDs[i+1:]); err != nil {
				return fmt.Errorf("unpack layer %s: %w", d, err)
			}
		}
		user, err = runtimespec.UserOf(tree, c.Config.User)
		return err
	})
	if left != "" {
		s.cfg.Events.Warn(fmt.Sprintf("%s: %s lacks what this user, or the disk's file system, cannot make (%s)", s.path, rootfsName, left))
	}
	return temp, user, err
}

// apply unpacks one layer, and gives its space back if it does not come again.
func (s *sink) apply(ctx context.Context, tree *rootfs.Tree, d digest.Digest, later []digest.Digest) error {
	f, ok := s.layers[d]
	if !ok {
		return errors.New("it did not come: its content is elsewhere (--foreign=fetch brings it along)")
	}
	if err := tree.Apply(ctx, f); err != nil {
		return err
	}
	if slices.Contains(later, d) {
		return nil
	}
	delete(s.layers, d)
	return f.Close()
}

// replace gives all parts their names. No bundle is ever a mixture: config.json,
// without which none starts, goes first and comes last. After an error all is as
// it was.
func (s *sink) replace(fresh map[string]string) (err error) {
	var undo []func() error
	defer func() {
		for _, u := range slices.Backward(undo) {
			if err != nil {
				err = errors.Join(err, u())
			}
		}
	}()
	move := func(from, to string) error {
		if err := s.session.Move(from, to); err != nil {
			return staging.Plain(err)
		}
		undo = append(undo, func() error { return s.session.Move(to, from) })
		return nil
	}
	for _, n := range []string{configName, rootfsName, imageConfigName} {
		if err := move(n, s.session.Temp()); err != nil && !missing(err) {
			return err
		}
	}
	for _, n := range []string{imageConfigName, rootfsName, configName} {
		if err := move(fresh[n], n); err != nil {
			return err
		}
	}
	return nil
}
