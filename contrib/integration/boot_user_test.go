//go:build integration && linux

package integration

import (
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// The units of a user work in the manager of a user, without root.
func TestABootedSystemdStartsTheProxyOfAUser(t *testing.T) {
	t.Parallel()
	const (
		number          = "1000" // of the user that the machine has
		home            = "/home/user"
		service, socket = "occystrapd-proxy.service", "occystrapd-proxy.socket"
		folder          = home + "/.local/share/occystrap/proxy-service"
		config          = home + "/.config/occystrap/occystrapd.toml"
	)
	b := boot(t,
		pipelinetest.File{Name: "settings.toml", Body: "[proxy]\nidle = \"12h\"\n"},
		pipelinetest.File{Name: "image.tar", Body: text(t, busybox(t).archive(t, "fixture.test/x:1"))})
	b.does(t, "install", "-d", "-o", number, "-g", number, "-m", "0700", home, home+"/.config", home+"/.config/occystrap")
	b.does(t, "install", "-m", "0644", "/settings.toml", config)
	b.does(t, "systemctl", "start", "user@"+number+".service")
	b.is(t, "user@"+number+".service", "ActiveState=active")

	u := b.user(number, home)
	u.does(t, "systemctl", "--user", "start", socket)
	eventually(t, "the proxy answers at the port of the user's unit", func() error {
		_, err := u.try(t, "occystrap", "proxy", "status", "--address", "127.0.0.1:5052")
		return err
	})
	for property, want := range map[string]string{"ActiveState": "active", "SubState": "running", "NRestarts": "0"} {
		if got := strings.TrimSpace(u.does(t, "systemctl", "--user", "show", "--property", property, "--value", service)); got != want {
			t.Errorf("%s is %q, want %q", property, got, want)
		}
	}
	must(t, u.refuses(t, "401 Unauthorized", "occystrap", "process", "tar:///image.tar", "registry://127.0.0.1:5052/app:1", "--insecure", "--quiet"))
	if got := strings.TrimSpace(b.does(t, "stat", "-c", "%u", folder)); got != number {
		t.Errorf("the store belongs to user %s", got)
	}
	u.does(t, "systemctl", "--user", "stop", socket, service)
	if got := strings.TrimSpace(u.does(t, "systemctl", "--user", "show", "--property", "Result", "--value", service)); got != "success" {
		t.Errorf("it ends with %q", got)
	}
	b.does(t, "systemctl", "stop", "user@"+number+".service")
}
