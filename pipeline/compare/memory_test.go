package compare_test

import (
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// Two images of 500,000 files each that all differ are compared within 48 MiB of
// live memory, so that the process stays within 128, whatever the number of files.
func TestMemoryOfManyFilesIsBounded(t *testing.T) {
	const files, most = 500_000, 48 << 20
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	a := pipelinetest.Generated(t, pipelinetest.ManyFiles(files, time.Unix(1e9, 0)))
	b := pipelinetest.Generated(t, pipelinetest.ManyFiles(files, time.Unix(2e9, 0)))
	var c *compare.Comparison
	used := pipelinetest.Heap(func() {
		c = run(t, a, b, compare.Options{})
		told := 0
		for _, err := range c.Files(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			told++
		}
		if told != files {
			t.Errorf("%d files were told", told)
		}
	})
	if used > most {
		t.Errorf("%d MiB are live", used>>20)
	}
	t.Logf("%d MiB were live", used>>20)
	if c.Summary.Changed != files || c.Summary.Same != files/100+4 {
		t.Errorf("the summary is %+v", c.Summary)
	}
}
