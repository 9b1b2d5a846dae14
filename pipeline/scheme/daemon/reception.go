package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/occystrap/occystrap/pipeline"
)

// A reception is what all lanes into a daemon do alike: gather the manifests, and
// give the names when it was seen that all has arrived.
type reception struct {
	target Target
	engine *engine
	stock  stockroom

	manifests []pipeline.Manifest // as committed
	arrived   []*arrival          // what is in the daemon without a name of ours
}

// newReception is for a target that the lane has said to fit.
func newReception(t Target) reception {
	e, _ := t.Place.engine() // Fits has said that there is one
	return reception{target: t, engine: e}
}

// Capacity is one image where the URI names one, and one platform where the
// daemon's store holds no indexes.
func (r *reception) Capacity(context.Context) (pipeline.Capacity, error) {
	c := pipeline.Capacity{OneName: len(r.target.Images) > 0, NoReferrers: true}
	if !r.engine.indexes {
		c.Platform = &r.engine.platform
		c.NoAnnotations = !r.engine.podman // a graph driver makes a manifest of its own
		c.OnlyConfigs, c.Chains = !r.engine.podman, r.engine.sparse()
	}
	return c, nil
}

// take keeps a manifest; which of them the daemon can hold is known when the
// roots are.
func (r *reception) take(m pipeline.Manifest) error {
	if m.Root {
		names, err := r.names(m)
		if err != nil {
			return err
		}
		m.Names = names
	}
	r.manifests = append(r.manifests, m)
	return nil
}

// names are the full names that a root gets: the destination's own, or those
// that it came with.
func (r *reception) names(m pipeline.Manifest) ([]string, error) {
	if len(r.target.Images) > 0 {
		name := r.target.Images[0].Name
		for _, have := range r.manifests {
			if have.Root && have.Desc.Digest != m.Desc.Digest {
				return nil, pipeline.Usage("docker://%s takes one image, and the source gives several; write docker:// to keep the names that they have", r.target.Images[0])
			}
		}
		return []string{name}, nil
	}
	var names []string
	for _, n := range m.Names {
		if full := fullName(n); full != "" {
			names = append(names, full)
			continue
		}
		r.target.Events.Warn(fmt.Sprintf("the daemon cannot name an image %q; write docker://NAME[:TAG] to name it", n))
	}
	return names, nil
}

// choose says which manifests go to the daemon, and what their roots become
// there. From here on what arrives without a name is removed again.
func (r *reception) choose(ctx context.Context) ([]pipeline.Manifest, []*arrival, error) {
	chosen, arrivals, err := r.engine.choose(r.manifests, r.target.Events)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range arrivals {
		a.had = r.engine.has(ctx, a.id)
	}
	r.arrived = arrivals
	return chosen, arrivals, nil
}

// check looks at what the daemon has made of all roots.
func (r *reception) check(ctx context.Context) error {
	for _, a := range r.arrived {
		if err := r.engine.check(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// name gives the names.
func (r *reception) name(ctx context.Context) error {
	for _, a := range r.arrived {
		if err := r.engine.name(ctx, a); err != nil {
			return err
		}
		if len(a.names) == 0 {
			r.target.Events.Warn(fmt.Sprintf("image %s has no name in the daemon; docker://NAME[:TAG] would give it one", a.id))
		}
	}
	r.arrived = nil
	return nil
}

// tidy removes what arrived without getting its name.
func (r *reception) tidy() error {
	return errors.Join(r.stock.close(), r.engine.discard(r.arrived))
}
