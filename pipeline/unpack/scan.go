package unpack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
)

// Whole says whether a layer has an entry for each directory that it has files in,
// and so can be unpacked by anybody without the layers below.
func Whole(ctx context.Context, stored io.Reader, limits pipeline.Limits) (bool, error) {
	limits = limits.WithDefaults()
	plain, _, err := codec.NewReader(stored)
	if err != nil {
		return false, err
	}
	defer plain.Close()
	has, wants := map[string]bool{"": true}, map[string]bool{}
	r := tar.NewReader(bufio.NewReaderSize(&bounded{r: plain, left: limits.Layer, limit: limits.Layer}, readSize))
	for n := int64(0); n < limits.Entries; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			for d := range wants {
				if !has[d] {
					return false, nil
				}
			}
			return true, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		at := layerpath.Of(h.Name)
		if h.Typeflag == tar.TypeDir {
			has[strings.Clone(at)] = true
		}
		if dir := layerpath.Parent(at); !has[dir] {
			wants[strings.Clone(dir)] = true
		}
	}
	return false, nil
}
