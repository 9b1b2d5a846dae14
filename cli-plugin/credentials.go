package cliplugin

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/docker/cli/cli/config"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// maxPassword bounds what --password-stdin reads: tokens of cloud registries
// have a few kilobytes.
const maxPassword = 64 << 10

// login is the user name and password that count for both registries. They are
// sent to no other host, as the registry schemes see to; who wants different
// ones at each end names a file for each side.
type login struct {
	username string
	password credential.Secret
}

// login reads standard input if asked to.
func (o *options) login(stdin io.Reader) (login, error) {
	l := login{username: o.username, password: credential.Secret(o.password)}
	if !o.passwordStdin {
		return l, nil
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxPassword+1))
	if err != nil {
		return l, fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" || len(text) > maxPassword {
		return l, fmt.Errorf("--password-stdin found no password of 1 to %d bytes on standard input", maxPassword)
	}
	l.password = credential.Secret(password)
	return l, nil
}

// keychain is where one side's logins come from: its own file, else the login
// of both sides, then the stores that every user of containers has.
func (l login) keychain(file string) credential.Keychain {
	return credential.Chain(l.given(file), credential.Default(dockerEnvironment))
}

// given is the login that was given for one side of this run.
func (l login) given(file string) credential.Keychain {
	if file != "" {
		return credential.File(file)
	}
	return credential.Static(l.username, l.password)
}

// others is where logins come from at registries that neither end may name: what
// is given for an end counts where that end is.
func (o *options) others(l login, from, to string) credential.Keychain {
	return credential.Chain(
		credential.Only(l.given(o.sourceCredentials), hostsOf(from)...),
		credential.Only(l.given(o.destinationCredentials), hostsOf(to)...),
		credential.Default(dockerEnvironment))
}

// hostsOf is the registry that a URI names, if it names one.
func hostsOf(uri string) []string {
	loc, err := pipeline.ParseLocation(uri)
	if err != nil || loc.Scheme != "registry" {
		return nil // who opens it says what is wrong
	}
	ref, err := remote.ParseReference(loc.Host, loc.Path)
	if err != nil {
		return nil
	}
	return []string{ref.Host}
}

// dockerEnvironment is the environment with Docker's --config in it.
func dockerEnvironment(name string) string {
	if name == config.EnvOverrideConfigDir {
		return config.Dir()
	}
	return os.Getenv(name)
}
