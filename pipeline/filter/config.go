package filter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// config is the filter of that name: it sets and removes what an image says of
// how it runs, its labels and the annotations of its manifest. Layers, and what
// the filter was not asked about, keep their bytes.
type config struct {
	env             []pair // in the order in which they were given
	labels          []pair
	annotations     []pair
	noEnv           *globs
	noLabel         *globs
	noAnnotation    *globs
	user, workdir   *string // nil: leave it; "": remove it
	entrypoint, cmd *[]string
	key             string // of the recipe
}

// A pair is NAME=VALUE.
type pair struct{ name, value string }

var (
	_ pipeline.ConfigFilter = (*config)(nil)
	_ pipeline.Annotator    = (*config)(nil)
)

// Recipe names what is set, and leaves layers out of it: they stay as they are.
func (c *config) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: c.key} }

// Config edits the object config of an image's config.
func (c *config) Config(_ context.Context, _ ocispec.Descriptor, raw []byte) ([]byte, error) {
	out, err := pipeline.EditJSON(raw, func(o *pipeline.Object) error {
		was := o.Get("config")
		if was == nil || string(was) == "null" {
			was = []byte("{}")
		}
		is, err := pipeline.EditJSON(was, c.edit)
		if err != nil || bytes.Equal(was, is) {
			return err
		}
		return o.Set("config", json.RawMessage(is))
	})
	if err != nil {
		return nil, fmt.Errorf("set the image config: %w", err)
	}
	return out, nil
}

// Annotations edits those of a manifest.
func (c *config) Annotations(_ context.Context, _ ocispec.Descriptor, notes map[string]string) (map[string]string, error) {
	maps.DeleteFunc(notes, func(name, _ string) bool { return c.noAnnotation.match(name) })
	for _, p := range c.annotations {
		notes[p.name] = p.value
	}
	return notes, nil
}

// edit changes the members that it was asked to change.
func (c *config) edit(o *pipeline.Object) error {
	if err := c.editEnv(o); err != nil {
		return fmt.Errorf("env: %w", err)
	}
	if err := c.editLabels(o); err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	return errors.Join(
		setOrDelete(o, "User", c.user, c.user != nil && *c.user == ""),
		setOrDelete(o, "WorkingDir", c.workdir, c.workdir != nil && *c.workdir == ""),
		setOrDelete(o, "Entrypoint", c.entrypoint, c.entrypoint != nil && len(*c.entrypoint) == 0),
		setOrDelete(o, "Cmd", c.cmd, c.cmd != nil && len(*c.cmd) == 0),
	)
}

// setOrDelete leaves a member alone where there is no value, or where it has
// that value, however it is written.
func setOrDelete[T any](o *pipeline.Object, key string, value *T, remove bool) error {
	if value == nil {
		return nil
	}
	if remove {
		o.Delete(key)
		return nil
	}
	var was T
	if json.Unmarshal(o.Get(key), &was) == nil && reflect.DeepEqual(was, *value) {
		return nil
	}
	return o.Set(key, value)
}

// editEnv sets variables where they are, and new ones at the end.
func (c *config) editEnv(o *pipeline.Object) error {
	var was []string
	if raw := o.Get("Env"); raw != nil {
		if err := json.Unmarshal(raw, &was); err != nil {
			return err
		}
	}
	is := slices.DeleteFunc(slices.Clone(was), func(v string) bool { return c.noEnv.match(nameOf(v)) })
	for _, p := range c.env {
		same := func(v string) bool { return nameOf(v) == p.name }
		at := slices.IndexFunc(is, same)
		if at < 0 {
			is = append(is, p.name+"="+p.value)
			continue
		}
		is[at] = p.name + "=" + p.value
		is = slices.Concat(is[:at+1], slices.DeleteFunc(is[at+1:], same))
	}
	if slices.Equal(was, is) {
		return nil
	}
	return setOrDelete(o, "Env", &is, len(is) == 0)
}

func nameOf(v string) string {
	name, _, _ := strings.Cut(v, "=")
	return name
}

func (c *config) editLabels(o *pipeline.Object) error {
	is := map[string]string{}
	if raw := o.Get("Labels"); raw != nil {
		if err := json.Unmarshal(raw, &is); err != nil {
			return err
		}
	}
	was := maps.Clone(is)
	maps.DeleteFunc(is, func(name, _ string) bool { return c.noLabel.match(name) })
	for _, p := range c.labels {
		if is == nil {
			is = map[string]string{}
		}
		is[p.name] = p.value
	}
	if maps.Equal(was, is) {
		return nil
	}
	return setOrDelete(o, "Labels", &is, len(is) == 0)
}
