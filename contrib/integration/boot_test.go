//go:build integration && linux

package integration

import (
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A whole systemd has the units: it starts the proxy for who connects, as a user of
// its own with a folder of its own, and everything that the howto says works.
func TestABootedSystemdStartsTheProxy(t *testing.T) {
	t.Parallel()
	const (
		service, socket = "occystrapd-proxy.service", "occystrapd-proxy.socket"
		config          = "etc/occystrap/config.toml"
		// However slow the machine is, it does not end between two steps.
		settings = "[proxy]\nidle = \"12h\"\n"
		newer    = settings + "offline = true\n[[proxy.upstream]]\nhost = \"docker.io\"\n"
		pushes   = "occystrap process tar:///root/image.tar registry://127.0.0.1:5050/"
		login    = "occystrapd proxy secret | "
		loggedIn = " --username occystrap --password-stdin"
		plain    = " --insecure --quiet"
	)
	b := boot(t,
		pipelinetest.File{Name: "etc/occystrap/"},
		pipelinetest.File{Name: config, Body: settings},
		pipelinetest.File{Name: "root/newer.toml", Body: newer},
		pipelinetest.File{Name: "root/image.tar", Body: text(t, busybox(t).archive(t, "fixture.test/x:1"))})

	b.does(t, "systemctl", "start", socket)
	b.is(t, service, "ActiveState=inactive") // until somebody asks
	eventually(t, "the proxy tells what it does", func() error {
		_, err := b.try(t, "occystrap", "proxy", "status")
		return err
	})
	b.is(t, service, "ActiveState=active", "SubState=running", "DynamicUser=yes", "StateDirectory=occystrap-proxy", "NRestarts=0")
	user := b.property(t, service, "UID")
	if got := strings.TrimSpace(b.does(t, "stat", "-L", "-c", "%u %a", "/var/lib/occystrap-proxy")); user == "0" || got != user+" 700" {
		t.Errorf("the proxy is user %s, its folder has owner and mode %s", user, got)
	}

	must(t, b.refuses(t, "401 Unauthorized", "sh", "-c", pushes+"team/app:1"+plain))
	b.does(t, "sh", "-c", login+pushes+"team/app:1"+plain+loggedIn)

	process := b.property(t, service, "MainPID")
	b.does(t, "cp", "/root/newer.toml", "/"+config)
	b.does(t, "systemctl", "reload", service)
	eventually(t, "the new settings count", func() error {
		return b.refuses(t, "docker.io is mirrored here", "sh", "-c", login+pushes+"docker.io/library/app:1"+plain+loggedIn)
	})
	b.is(t, service, "MainPID="+process)
	b.does(t, "sh", "-c", "occystrap info registry://127.0.0.1:5050/team/app:1 --insecure")

	b.does(t, "systemctl", "stop", socket, service)
	b.is(t, service, "ActiveState=inactive", "Result=success")
	b.is(t, socket, "ActiveState=inactive", "Result=success")

	// Type=notify: started is what says that it is ready.
	b.does(t, "systemctl", "start", "occystrapd-lanes.service")
	b.is(t, "occystrapd-lanes.socket", "ActiveState=active", "SocketGroup=docker")
	b.does(t, "systemctl", "stop", "occystrapd-lanes.socket", "occystrapd-lanes.service")
	b.is(t, "occystrapd-lanes.service", "ActiveState=inactive", "Result=success")
}
