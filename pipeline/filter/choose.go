package filter

import (
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// platforms is the filter of that name: it chooses from an index.
type platforms struct{ want pipeline.Platforms }

var _ pipeline.Chooser = (*platforms)(nil)

func platformsKind() pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "platforms",
		Help: "choose images from an index, as --platform does",
		Options: []pipeline.Option{
			{Name: "only", Aliases: []string{"platform"}, Form: pipeline.List, Help: "OS/ARCH[/VARIANT][,…] to take"},
			{Name: "all", Help: "true: the whole index"},
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) { return newPlatforms(o) },
	}
}

func newPlatforms(o pipeline.FilterOptions) (*platforms, error) {
	f := &platforms{}
	var err error
	if f.want.All, err = o.Bool("all"); err != nil {
		return nil, err
	}
	for _, s := range o.Split("only") {
		p, err := pipeline.ParsePlatform(s)
		if err != nil {
			return nil, err
		}
		f.want.Want = append(f.want.Want, p)
	}
	switch {
	case f.want.All && len(f.want.Want) > 0:
		return nil, pipeline.Usage("platforms filter has only=%s and all=true; give one", strings.Join(o.Split("only"), ","))
	case !f.want.All && len(f.want.Want) == 0:
		return nil, pipeline.Usage("platforms filter needs a choice, as in platforms:only=linux/amd64,linux/arm64")
	}
	return f, nil
}

// Recipe names the choice.
func (f *platforms) Recipe() pipeline.Recipe {
	if f.want.All {
		return pipeline.Recipe{Key: "platforms:all=true"}
	}
	return pipeline.Recipe{Key: "platforms:only=" + strings.ReplaceAll(f.want.String(), ", ", ",")}
}

// Choose asks the source for these images.
func (f *platforms) Choose(o *pipeline.Options) error {
	if o.Platforms.All || len(o.Platforms.Want) > 0 {
		return pipeline.Usage("the images are chosen twice: by the filter platforms and by another one, --platform or --all-platforms; leave one out")
	}
	o.Platforms = f.want
	return nil
}

// attestations is the filter of that name: it says what becomes of them.
type attestations struct{ mode pipeline.Attestations }

var _ pipeline.Chooser = (*attestations)(nil)

func attestationsKind() pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "attestations",
		Help: "leave out attestations or keep them, as --attestations does",
		Options: []pipeline.Option{
			{Name: "mode", Help: "drop or keep those of changed images, or none to leave out all"},
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) { return newAttestations(o["mode"]) },
	}
}

func newAttestations(mode string) (*attestations, error) {
	if mode == "" {
		return nil, pipeline.Usage("attestations filter needs a mode, as in attestations:mode=none; it takes drop, keep, none")
	}
	m, err := pipeline.ParseAttestations(mode)
	if err != nil {
		return nil, pipeline.BadValue("mode", mode, "drop, keep, none")
	}
	return &attestations{m}, nil
}

// Recipe names the mode.
func (f *attestations) Recipe() pipeline.Recipe {
	return pipeline.Recipe{Key: "attestations:mode=" + string(f.mode)}
}

// Choose sets the mode of the run.
func (f *attestations) Choose(o *pipeline.Options) error {
	o.Attestations = f.mode
	return nil
}
