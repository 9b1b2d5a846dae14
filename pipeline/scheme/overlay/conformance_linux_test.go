package overlay_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
)

func TestMountsConform(t *testing.T) {
	t.Parallel()
	needMounts(t)
	end := pipelinetest.End{OwnManifests: true, OneImage: true}
	end.Sink = func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "images")
		s, err := schemes(overlay.Config{}).Sink("mounts://" + path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(path+"/rootfs", unix.MNT_DETACH) })
		return s, func() (pipeline.Source, error) { return schemes(overlay.Config{}).Source("mounts://" + path) }
	}
	pipelinetest.TestEnd(t, end)
}
