package credential

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
)

const (
	// defaultHelperTime is enough for a helper that asks a cloud's API, and for
	// a user who must unlock a key ring.
	defaultHelperTime = 30 * time.Second
	// helperGrace is how long a killed helper's children may hold its output.
	helperGrace = time.Second
	// messageSize bounds how much of a helper's message goes into an error.
	messageSize = 200
	// identityUser says that the secret is an identity token
	// (docker-credential-helpers, README, "Development").
	identityUser = "<token>"
)

// runHelper asks docker-credential-NAME for the login under key.
func runHelper(ctx context.Context, name, key string, limit time.Duration) (Credential, bool, error) {
	if limit == 0 {
		limit = defaultHelperTime
	}
	if strings.ContainsAny(name, `/\`) {
		return Credential{}, false, fmt.Errorf("credential helper %q: %w: the name of a helper has no slash", name, ErrStore)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := newProgram(ctx, "docker-credential-"+name)
	got, err := client.Get(func(args ...string) client.Program {
		p.cmd.Args = append(p.cmd.Args, args...)
		return p
	}, key)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return Credential{}, false, nil
	case err != nil && ctx.Err() != nil:
		return Credential{}, false, fmt.Errorf("%s gave no answer in %s: %w", p.cmd.Args[0], limit, ErrStore)
	case err != nil:
		return Credential{}, false, fmt.Errorf("%s: %w: %s", p.cmd.Args[0], ErrStore, p.message())
	case got.Secret == "":
		return Credential{}, false, nil
	case got.Username == identityUser:
		return Credential{IdentityToken: Secret(got.Secret)}, true, nil
	}
	return Credential{Username: got.Username, Secret: Secret(got.Secret)}, true, nil
}

// A program is one run of a helper, as the client of the protocol wants it. What
// it says on standard error is kept for the error message.
type program struct {
	cmd    *exec.Cmd
	out    []byte
	err    error
	stderr bytes.Buffer
}

func newProgram(ctx context.Context, name string) *program {
	p := &program{cmd: exec.CommandContext(ctx, name)}
	p.cmd.WaitDelay = helperGrace
	p.cmd.Stderr = &p.stderr
	return p
}

// Input implements client.Program.
func (p *program) Input(in io.Reader) { p.cmd.Stdin = in }

// Output implements client.Program.
func (p *program) Output() ([]byte, error) {
	p.out, p.err = p.cmd.Output()
	return p.out, p.err
}

// message is what the helper said went wrong. Helpers say it on standard output,
// where a half-failed one may have put the secret: then it is left out.
func (p *program) message() string {
	text := string(p.out)
	if strings.ContainsAny(text, `{}"`) || strings.TrimSpace(text) == "" {
		text = p.stderr.String()
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if len(text) > messageSize {
		text = text[:messageSize]
	}
	if text == "" && p.err != nil {
		return p.err.Error()
	}
	if text == "" {
		return "its answer is not JSON"
	}
	return text
}
