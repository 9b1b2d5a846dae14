package filter

import (
	"fmt"

	"github.com/occystrap/occystrap/pipeline"
)

// recompress is the filter of that name: every layer is stored with one
// compression, whether a filter changes it or not.
type recompress struct{ want pipeline.Storing }

var _ pipeline.Chooser = (*recompress)(nil)

// The levels that the compressors have. Zstd's are those of the zstd program;
// ours has four speeds, for levels up to 2, 5, 9 and above.
const (
	maxGzipLevel = 9
	maxZstdLevel = 22
)

// Above zstdFast a compressor takes about 50 MiB: fewer layers are in flight
// then, so that memory stays what it is otherwise.
const (
	zstdFast    = 9
	fewInFlight = 1
)

func recompressKind() pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "recompress",
		Help: "store all layers with one compression, as in recompress:zstd",
		Main: "compression",
		Options: []pipeline.Option{
			{Name: "compression", Help: "gzip or zstd"},
			{Name: "level", Help: "1 to 9 for gzip, 1 to 22 for zstd; layers that have the compression already are compressed anew, too"},
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) { return newRecompress(o) },
	}
}

func newRecompress(o pipeline.FilterOptions) (*recompress, error) {
	f := &recompress{}
	var most int64
	switch f.want.Compression = pipeline.Compression(o["compression"]); f.want.Compression { // nobody wants the others
	case pipeline.Gzip:
		most = maxGzipLevel
	case pipeline.Zstd:
		most = maxZstdLevel
	case "":
		return nil, pipeline.Usage("recompress filter needs a compression, as in recompress:zstd or recompress:gzip,level=9")
	default:
		return nil, pipeline.Usage("filter option compression is %q; it takes gzip or zstd", o["compression"])
	}
	level, given, err := o.Int("level")
	if err != nil {
		return nil, err
	}
	if given && (level < 1 || level > most) {
		return nil, pipeline.Usage("filter option level is %d; %s takes 1 to %d", level, f.want.Compression, most)
	}
	f.want.Level = int(level)
	return f, nil
}

// Recipe names the compression and its level.
func (f *recompress) Recipe() pipeline.Recipe {
	return pipeline.Recipe{Key: fmt.Sprintf("recompress:compression=%s,level=%d", f.want.Compression, f.want.Level)}
}

// Choose sets how the run stores layers.
func (f *recompress) Choose(o *pipeline.Options) error {
	if o.Storing.Compression != "" {
		return pipeline.Usage("the filter recompress stands twice; leave one out")
	}
	if o.Storing = f.want; f.want.Compression == pipeline.Zstd && f.want.Level > zstdFast {
		o.Parallel = fewInFlight
	}
	return nil
}
