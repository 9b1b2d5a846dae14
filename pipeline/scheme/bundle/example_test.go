package bundle_test

import (
	"context"
	"fmt"
	"os"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/bundle"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// An archive becomes a bundle, which "runc run --bundle DIR NAME" starts.
func ExampleScheme() {
	target, err := os.MkdirTemp("", "bundle")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(target)
	schemes := pipeline.Schemes{tarball.Scheme(tarball.Config{}), bundle.Scheme(bundle.Config{})}
	src, err := schemes.Source("tar://../tarball/testdata/images/busybox-1.36.1-musl-amd64-oci.tar")
	if err != nil {
		fmt.Println(err)
		return
	}
	dst, err := schemes.Sink("oci://" + target)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := pipeline.Run(context.Background(), src, nil, dst, pipeline.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	entries, err := os.ReadDir(target)
	fmt.Println(entries, err)
	// Output: [- config.json - container-config.json d rootfs/] <nil>
}
