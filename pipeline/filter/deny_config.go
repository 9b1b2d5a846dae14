package filter

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// Config judges an image's config as it is where the filter stands.
func (d *deny) Config(_ context.Context, image ocispec.Descriptor, config []byte) ([]byte, error) {
	var c struct {
		Config struct {
			User string
			Env  []string
		} `json:"config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("deny: config of image %s: %w", image.Digest, err)
	}
	if err := unambiguous(config); err != nil {
		return nil, fmt.Errorf("deny: config of image %s: %w", image.Digest, err)
	}
	var b broken
	for _, v := range c.Config.Env {
		name, _, _ := strings.Cut(v, "=")
		if lower := strings.ToLower(name); d.env.match(lower) {
			b.add("it sets the variable %s, which env=%s forbids", quoted(name), d.env.which(lower))
		}
	}
	if user := d.deniedUser(c.Config.User); user != "" {
		b.add("it runs as %s, which user=%s forbids (give it another with USER in its Dockerfile, or with the filter config:user=NAME)", asUser(c.Config.User), user)
	}
	if d.secrets {
		if err := secretsOf(config, &b); err != nil {
			return nil, fmt.Errorf("deny: config of image %s: %w", image.Digest, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return config, b.err(d.names[image.Digest])
}

// unambiguous refuses a config in which another program could read another user
// or environment.
func unambiguous(config []byte) error {
	o, err := pipeline.ParseObject(config)
	if err != nil {
		return err
	}
	if inner := o.Get("config"); inner != nil && string(inner) != "null" {
		_, err = pipeline.ParseObject(inner)
	}
	return err
}

// deniedUser is the rule that a user, as USER in a Dockerfile has it, breaks.
// The superuser has several names. Which other names have his number is not
// looked up in the image.
func (d *deny) deniedUser(user string) string {
	name, _, _ := strings.Cut(user, ":")
	if n, err := strconv.ParseInt(name, 10, 64); name == "" || err == nil && n == 0 {
		name = "root"
	}
	if name == "root" && d.user.match("0") {
		return "0"
	}
	return d.user.which(name)
}

func asUser(user string) string {
	if user == "" {
		return "root, since it names no user"
	}
	return quoted(user)
}

// secretsOf looks for secrets in all strings of a config: environment, labels,
// commands, history.
func secretsOf(config []byte, b *broken) error {
	var all any
	if err := json.Unmarshal(config, &all); err != nil {
		return err
	}
	walkStrings("", all, func(at, s string) {
		look := newSecretScanner("")
		defer look.release()
		_, _ = look.Write([]byte(s)) // a scanner never fails
		for _, found := range look.end() {
			b.add("its config has %s in %s (secrets=true)", found.what, at)
		}
	})
	return nil
}

// walkStrings calls f for all strings, with the place where each is: as in
// config.Env[2]. An object's keys come in their order.
func walkStrings(at string, v any, f func(at, s string)) {
	switch v := v.(type) {
	case string:
		f(at, v)
	case []any:
		for i, item := range v {
			walkStrings(fmt.Sprintf("%s[%d]", at, i), item, f)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			walkStrings(strings.TrimPrefix(at+"."+quoted(k), "."), v[k], f)
		}
	}
}
