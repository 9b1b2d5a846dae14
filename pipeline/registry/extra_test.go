package registry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A noting is a place that says more of what it has put.
type noting struct {
	registry.Manifests
	err error
}

func (n noting) Put(ctx context.Context, repository string, m registry.Manifest, tags []string) error {
	registry.SetHeader(ctx, "Stored-As", "sha256:abc")
	return errors.Join(n.err, n.Manifests.Put(ctx, repository, m, tags))
}

func TestBackendAddsToTheAnswerOfPut(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, &registry.Error{Code: registry.Denied, Message: "no"}} {
		b := pipelinetest.NewRegistry().Backend()
		b.Manifests = noting{b.Manifests, err}
		w := over(t, b)
		raw := w.artifact(nil)
		answer := w.ask("PUT", "/v2/team/app/manifests/1", raw, "Content-Type", imageType)
		if err == nil {
			answer.want(201, "").header("Stored-As", "sha256:abc")
			continue
		}
		answer.want(403, registry.Denied).header("Stored-As", "")
	}
	registry.SetHeader(t.Context(), "Stored-As", "nowhere") // no request: nothing happens
}
