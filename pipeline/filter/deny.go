package filter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// secretRules is the version of what secrets=true looks for. It is part of the
// recipe: a verdict of older rules is none of newer ones.
const secretRules = 1

// deny is the filter of that name: a gate. It changes nothing, and fails the run
// where an image breaks one of its rules, so that nothing is published:
//
//	files   ─▶ denying: pattern, max-size, secrets (what is inside)
//	configs ─▶ Config: env, user, secrets (environment, labels, history)
//
// It judges what is where it stands: a file that exclude removed before it is
// gone, and one that a later layer deletes is still in the image. As a Watcher it
// sees every layer, whatever a destination or a cache holds. A layer that nobody
// reads, since it is kept elsewhere by its URLs, cannot be judged, and so is
// refused.
type deny struct {
	patterns, allow *globs
	maxSize         int64 // 0: any
	env, user       *globs
	secrets         bool

	mu    sync.Mutex
	names map[digest.Digest]string // of images, for messages
}

var (
	_ pipeline.Watcher      = (*deny)(nil)
	_ pipeline.ConfigFilter = (*deny)(nil)
)

func denyKind() pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "deny",
		Help: "fail the run where an image has what it must not have",
		Options: []pipeline.Option{
			{Name: "pattern", Form: pipeline.List, Help: "GLOB[,GLOB…] of paths that must not be there"},
			{Name: "max-size", Help: "largest size of a file, as in 100m"},
			{Name: "env", Form: pipeline.List, Help: "GLOB[,GLOB…] of environment variables that must not be set; case does not matter"},
			{Name: "user", Form: pipeline.List, Help: "NAME[,NAME…] of users that the image must not run as; root is 0 and none, too"},
			{Name: "secrets", Help: "true: no private keys, tokens of known services or stored logins"},
			{Name: "allow", Form: pipeline.List, Help: "GLOB[,GLOB…] of paths that may be there all the same"},
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) { return newDeny(o) },
	}
}

func newDeny(o pipeline.FilterOptions) (*deny, error) {
	d := &deny{
		patterns: newGlobs(o.Split("pattern")), allow: newGlobs(o.Split("allow")),
		env: newGlobs(lowered(o.Split("env"))), user: newGlobs(o.Split("user")),
		names: map[digest.Digest]string{},
	}
	var err error
	if d.maxSize, err = o.Size("max-size"); err != nil {
		return nil, err
	}
	if d.secrets, err = o.Bool("secrets"); err != nil {
		return nil, err
	}
	if len(d.env.list)+len(d.user.list) == 0 && !d.judgesFiles() {
		return nil, pipeline.Usage("deny filter needs a rule, as in deny:secrets=true or deny:pattern=**/*.pem")
	}
	return d, nil
}

// Recipe names all rules, given or not, in one order.
func (d *deny) Recipe() pipeline.Recipe {
	secrets := 0
	if d.secrets {
		secrets = secretRules
	}
	return pipeline.Recipe{
		Key: fmt.Sprintf("deny:secrets=%d,max-size=%d,pattern=%s,env=%s,user=%s,allow=%s",
			secrets, d.maxSize, d.patterns.key(), d.env.key(), d.user.key(), d.allow.key()),
		Content: d.secrets,
	}
}

// Layer returns the handler that judges one layer.
func (d *deny) Layer(_ context.Context, _ pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	if !d.judgesFiles() {
		return next, nil
	}
	return &denying{deny: d, next: next}, nil
}

// Done has nothing to do: what a layer breaks has failed it.
func (d *deny) Done(pipeline.LayerSeen) error { return nil }

// Images learns the names of images, and refuses layers that nobody reads.
func (d *deny) Images(images []pipeline.ImageLayers) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, image := range images {
		name := "an image without a name"
		if len(image.Names) > 0 {
			name = image.Names[0]
		}
		if p := image.Manifest.Platform; p != nil {
			name += " (" + strings.Trim(p.OS+"/"+p.Architecture+"/"+p.Variant, "/") + ")"
		}
		d.names[image.Manifest.Digest] = name
		if i := slices.IndexFunc(image.Layers, unjudged); i >= 0 && d.judgesFiles() {
			return pipeline.Refused("deny refuses %s: its layer %s is kept elsewhere by its URLs, so nobody looks into it (bring it along with --foreign=fetch, or leave it out with --foreign=skip)",
				name, image.Layers[i].Blob.Digest)
		}
	}
	return nil
}

func unjudged(l pipeline.ImageLayer) bool { return l.Unread() && l.Foreign != pipeline.ForeignSkip }

func (d *deny) judgesFiles() bool { return len(d.patterns.list) > 0 || d.maxSize > 0 || d.secrets }

// broken are the rules that something breaks, as sentences.
type broken struct {
	told []string
	more int
}

// maxBroken is how many sentences one error has.
const maxBroken = 10

func (b *broken) add(format string, args ...any) {
	if len(b.told) == maxBroken {
		b.more++
		return
	}
	b.told = append(b.told, fmt.Sprintf(format, args...))
}

// err is what was broken; nil for nothing.
func (b *broken) err(what string) error {
	if len(b.told) == 0 {
		return nil
	}
	s := strings.Join(b.told, "; ")
	if b.more > 0 {
		s += fmt.Sprintf("; and %d more", b.more)
	}
	return pipeline.Refused("deny refuses %s: %s", what, s)
}
