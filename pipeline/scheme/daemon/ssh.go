package daemon

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// What stands in an ssh address ends on the command line of ssh, and its path in
// that of a shell on the other side: so each part is of a few characters, and
// begins with none that makes it an option.
var (
	sshName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	sshHost = regexp.MustCompile(`^[A-Za-z0-9_:][A-Za-z0-9._:-]*$`) // a name or an IP address
	sshPath = regexp.MustCompile(`^(/[A-Za-z0-9._][A-Za-z0-9._-]*)*/?$`)
)

// CheckSSH refuses an ssh:// address that could be more than an address: ssh
// takes what begins with "-" for an option, and a shell on the other side reads
// the path. Other addresses are none of its business.
func CheckSSH(host string) error {
	if !strings.HasPrefix(strings.ToLower(host), "ssh:") { // as url.Parse reads it
		return nil
	}
	bad := func(what string) error {
		return pipeline.Usage("the daemon's address %q %s; it takes ssh://[USER@]HOST[:PORT][/PATH/OF/SOCKET]", redacted(host), what)
	}
	u, err := url.Parse(host)
	if err != nil || u.Opaque != "" {
		return bad("is no URL")
	}
	if _, has := u.User.Password(); has {
		return bad("has a password, which ssh does not take")
	}
	switch {
	case u.User != nil && !sshName.MatchString(u.User.Username()):
		return bad("has a user's name that ssh or a shell could take for something else")
	case !sshHost.MatchString(u.Hostname()):
		return bad("has a host's name that ssh or a shell could take for something else")
	case !sshPath.MatchString(u.Path):
		return bad("has a path that ssh or a shell could take for something else")
	case u.RawQuery != "" || u.Fragment != "":
		return bad("has more than ssh takes")
	}
	return nil
}

// redacted is an address without its password, on one line.
func redacted(host string) string {
	if u, err := url.Parse(host); err == nil {
		return pipeline.OneLine(u.Redacted())
	}
	scheme, rest, _ := strings.Cut(host, "://")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = "***" + rest[i:]
	}
	return pipeline.OneLine(scheme + "://" + rest)
}
