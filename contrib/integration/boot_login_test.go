//go:build integration && linux

package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// The proxy's user cannot read what is root's: its unit has systemd hand the logins
// over, and with them it reaches a registry that demands one.
func TestABootedSystemdHandsLoginsToTheProxy(t *testing.T) {
	t.Parallel()
	const (
		service, far = "occystrapd-proxy.service", "127.0.0.1:6000"
		logins       = "/etc/occystrap/registries.json"
		user         = "pusher"
		password     = "opens-the-registry"
		pushes       = "occystrapd proxy secret | occystrap process tar:///root/image.tar registry://127.0.0.1:5050/team/app:1" +
			" --insecure --quiet --username occystrap --password-stdin"
		reads = "occystrap info registry://" + far + "/kept/team/app:1 --insecure"
	)
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	auths, err := json.Marshal(map[string]any{"auths": map[string]any{far: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}}})
	must(t, err)
	b := boot(t,
		pipelinetest.File{Name: "etc/occystrap/"},
		pipelinetest.File{Name: "etc/occystrap/config.toml", Body: fmt.Sprintf("[proxy]\nidle = \"12h\"\ndownstream = \"%s/kept\"\ninsecure = true\n", far)},
		pipelinetest.File{Name: "root/logins.json", Body: string(auths), Mode: 0o600},
		pipelinetest.File{Name: "root/image.tar", Body: text(t, busybox(t).archive(t, "fixture.test/x:1"))},
		pipelinetest.File{Name: "root/htpasswd", Body: user + ":" + string(hash) + "\n"},
		pipelinetest.File{Name: "root/registry.yml", Body: "version: 0.1\nstorage: {filesystem: {rootdirectory: /root/registry}}\nhttp: {addr: \"" + far + "\"}\n" +
			"auth: {htpasswd: {realm: far, path: /root/htpasswd}}\n"},
		pipelinetest.File{Name: "usr/local/bin/registry", Body: text(t, pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_BIN")), Mode: 0o755})
	b.does(t, "systemd-run", "--unit", "far", "/usr/local/bin/registry", "serve", "/root/registry.yml")
	eventually(t, "the registry demands a login", func() error { return b.refuses(t, "401", "sh", "-c", reads) })

	b.does(t, "systemctl", "start", "occystrapd-proxy.socket", service)
	must(t, b.refuses(t, "403 Forbidden", "sh", "-c", pushes)) // there are no logins yet
	b.does(t, "install", "-m", "0600", "/root/logins.json", logins)
	b.does(t, "systemctl", "restart", service)
	b.does(t, "sh", "-c", pushes)
	b.does(t, "sh", "-c", "printf %s "+password+" | "+reads+" --username "+user+" --password-stdin")
	if got := strings.TrimSpace(b.does(t, "stat", "-c", "%u %a", logins)); got != "0 600" {
		t.Errorf("the logins have owner and mode %s", got)
	}
	if out := b.does(t, "journalctl", "--no-pager", "--unit", service); strings.Contains(out, password) || strings.Contains(out, string(auths)) {
		t.Errorf("the journal has the login:\n%s", out)
	}
}
