package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// keep decides what becomes of the changes that an earlier mount has left: upon
// the same layers they stay. Upon others they would mean nothing.
func (a *addition) keep() error {
	names, err := a.list(deltaName)
	if err != nil || len(names) == 0 {
		a.kept = false
		return err
	}
	before, err := a.layersBefore()
	if err != nil {
		return err
	}
	if before == nil || !slices.Equal(before, a.image.Layers) {
		return pipeline.Usage("%s holds changes to another image; move it away, or name another directory", deltaName)
	}
	a.kept = true
	return nil
}

// layersBefore are the layers of the image that was mounted here last, by its
// config.
func (a *addition) layersBefore() ([]digest.Digest, error) {
	info, err := a.w.Root.Lstat(containerConfig)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() { // a pipe would block
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := a.w.Root.Open(containerConfig)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, a.cfg.Limits.WithDefaults().Manifest))
	if err != nil {
		return nil, err
	}
	var c struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, nil // damaged: of no image that we know
	}
	return c.RootFS.DiffIDs, nil
}

// Place gives everything its name, and makes the mount, which nobody sees yet.
func (a *addition) Place() error {
	// Another program may have been here since Begin and Prepare.
	if err := errors.Join(a.free(), a.keep()); err != nil {
		return err
	}
	if err := a.removeOld(); err != nil {
		return err
	}
	places := append(slices.Clone(a.trees), a.working)
	if !a.kept {
		places = append(places, a.delta)
	}
	for _, p := range places {
		if err := a.w.PlaceTree(p.temp, p.name); err != nil {
			return err
		}
	}
	if err := a.writeConfigs(); err != nil {
		return err
	}
	if err := a.w.Root.Mkdir(mountPoint, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return a.assemble()
}

func (a *addition) writeConfigs() error {
	if err := a.w.Write(containerConfig, a.image.Config); err != nil {
		return err
	}
	if a.runtime != nil {
		return a.w.Write(runtimeConfig, a.runtime)
	}
	err := a.w.Root.Remove(runtimeConfig) // an earlier image's
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeOld takes unpacked layers away that are not of this image, and those of
// this one as they were upon other layers.
func (a *addition) removeOld() error {
	trees, err := a.unpacked()
	if err != nil {
		return err
	}
	for _, t := range trees {
		if err := a.w.Move(t, a.w.Temp()); err != nil {
			return err
		}
	}
	return nil
}

// unpacked are the names of all unpacked layers: HEX/layer, HEX/layer.2.
func (a *addition) unpacked() (out []string, err error) {
	entries, err := staging.Entries(a.w.Root)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		n := e.Name()
		if !e.IsDir() || digest.NewDigestFromEncoded(digest.SHA256, n).Validate() != nil {
			continue
		}
		inside, err := a.list(n)
		if err != nil {
			return nil, err
		}
		for _, t := range inside {
			if t == treePrefix || strings.HasPrefix(t, treePrefix+".") && t != treePrefix+".tar" {
				out = append(out, n+"/"+t)
			}
		}
	}
	return out, nil
}

// assemble mounts what now has its names, so that whoever looks at mountinfo sees
// those.
func (a *addition) assemble() error {
	var opened []*os.File
	defer func() { closeAll(opened...) }()
	names := []string{deltaName, workingName}
	for _, t := range slices.Backward(a.trees) {
		names = append(names, t.name)
	}
	for _, n := range names {
		f, err := a.w.Root.Open(n)
		if err != nil {
			return err
		}
		opened = append(opened, f)
	}
	var err error
	a.mount, err = a.mounter.mount(stack{upper: opened[0], work: opened[1], lowers: opened[2:]})
	return err
}

// Show puts the mount where it is seen.
func (a *addition) Show() error {
	at, err := a.w.Root.Open(mountPoint)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := attach(a.mount, at); err != nil {
		return fmt.Errorf("mount at %s: %w", mountPoint, err)
	}
	a.cfg.Events.Detail(fmt.Sprintf("%s/%s: mounted %d layers with overlayfs; occystrap umount takes them apart", a.w.Path(), mountPoint, len(a.image.Layers)))
	return nil
}
