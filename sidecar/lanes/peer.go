package lanes

import (
	"os"
	"slices"

	"github.com/occystrap/occystrap/plugin/control/wire"
)

// A peer is who has connected, as the kernel says. There is no process ID in it:
// that of a process that has ended may be another's by now.
type peer struct {
	uid    uint32
	groups []uint32 // all of them
}

// overflow is the number that users and groups of other user namespaces get, and
// that of nobody (/proc/sys/kernel/overflowuid).
const overflow = 65534

// admit says why a peer may not ask; nil when it may.
func (c Config) admit(p peer) *wire.Error {
	switch {
	case p.uid == overflow:
		return wire.Errorf(wire.Denied, "the sidecar does not serve user %d: it is nobody, or a user of another user namespace (a rootless container), who may be anybody", p.uid)
	case p.uid == 0, int(p.uid) == os.Geteuid(), slices.Contains(c.Users, p.uid):
		return nil
	}
	for _, g := range p.groups {
		if g != overflow && slices.Contains(c.Groups, g) {
			return nil
		}
	}
	return wire.Errorf(wire.Denied, "user %d may not ask the sidecar: be root, or a member of the control socket's group (since the last login), or named in users of its config.toml", p.uid)
}
