package daemon_test

import (
	"fmt"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// A location names an image and, if it is not the usual one, the daemon's
// socket. Mistakes are found before a daemon is asked.
func ExampleScheme() {
	schemes := pipeline.Schemes{daemon.Scheme(daemon.Config{})}

	_, err := schemes.Source("docker://localhost:5000/team/app:1.2?socket=/run/podman/podman.sock")
	fmt.Println("source:", err)

	_, err = schemes.Sink("docker://")
	fmt.Println("destination that keeps names:", err)

	_, err = schemes.Source("docker://busybox?sokcet=/run/podman/podman.sock")
	fmt.Println("mistake:", err)

	// Output:
	// source: <nil>
	// destination that keeps names: <nil>
	// mistake: docker:// has no option "sokcet"; did you mean "socket"?
}
