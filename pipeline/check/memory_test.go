package check_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/check"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// An image of 500,000 files is checked within 64 MiB of live memory, so that the
// process stays within 128.
func TestMemoryOfManyFilesIsBounded(t *testing.T) {
	const files, most = 500_000, 64 << 20
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	src := pipelinetest.Generated(t, pipelinetest.ManyFiles(files, time.Unix(1e9, 0)))
	var r *check.Report
	if used := pipelinetest.Heap(func() { r = run(t, src, check.Options{}) }); used > most {
		t.Errorf("%d MiB are live", used>>20)
	}
	if len(of(r, "limits"))+len(of(r, "diff-id")) > 0 {
		t.Errorf("told is %s", messages(r))
	}
}

// Of more files than can be remembered, the first are checked, and that is told.
func TestTooManyFilesAreTold(t *testing.T) {
	t.Parallel()
	p := good(t)
	var files []file
	for i := range 12_000 {
		files = append(files, file{Name: fmt.Sprintf("%04d", i) + longName})
	}
	plain := pipelinetest.Tar(t, files...)
	p.layer(ocispec.MediaTypeImageLayer, plain, plain)
	if r := run(t, p.put(t), check.Options{}); len(of(r, "limits")) != 1 || r.Count(check.Error) > 0 {
		t.Errorf("told is %s", messages(r))
	}
}

// longName makes 12,000 names more than is remembered.
var longName = "/" + strings.Repeat("long", 1000)
