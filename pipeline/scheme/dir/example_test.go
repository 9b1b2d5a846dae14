package dir_test

import (
	"context"
	"fmt"
	"os"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// An archive becomes an OCI image layout, which other images may join later.
func ExampleScheme() {
	target, err := os.MkdirTemp("", "layout")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(target)
	schemes := pipeline.Schemes{tarball.Scheme(tarball.Config{}), dir.Scheme(dir.Config{})}
	src, err := schemes.Source("tar://../tarball/testdata/images/busybox-1.36.1-musl-amd64-oci.tar")
	if err != nil {
		fmt.Println(err)
		return
	}
	dst, err := schemes.Sink("dir://" + target + "?format=oci")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := pipeline.Run(context.Background(), src, nil, dst, pipeline.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Roots[0].Names, report.Layers[0].How)
	// Output: [docker.io/library/busybox:1.36.1-musl-amd64] copied
}
