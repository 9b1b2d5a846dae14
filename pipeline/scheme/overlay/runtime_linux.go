package overlay

import (
	"encoding/json"
	"fmt"

	"github.com/occystrap/occystrap/pipeline/internal/runtimespec"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// config makes config.json, as oci:// does, so that runc and crun start what is
// mounted. An image that it cannot be made for is mounted all the same, and the
// user told.
func (b *build) config() error {
	var image runtimespec.Image
	if err := json.Unmarshal(b.image.Config, &image); err != nil {
		return fmt.Errorf("read the image's config: %w", err)
	}
	if image.OS != "" && image.OS != "linux" {
		b.notes = append(b.notes, fmt.Sprintf("there is no %s: the image is for %s", runtimeConfig, image.OS))
		return nil
	}
	user, err := runtimespec.UserOf(b.tree, image.Config.User)
	if err != nil {
		b.notes = append(b.notes, fmt.Sprintf("there is no %s: %v", runtimeConfig, err))
		return nil
	}
	spec, notes := runtimespec.New(image, user, runtimespec.Options{})
	b.notes = append(b.notes, notes...)
	b.runtime, err = staging.JSON(spec)
	return err
}
