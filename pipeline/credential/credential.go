package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Credential is a login at a registry. The zero value is nobody.
type Credential struct {
	Username string
	Secret   Secret
	// IdentityToken is a refresh token, which a token server takes in place of
	// user name and password.
	IdentityToken Secret
	// RegistryToken is a token that the registry itself takes as it is.
	RegistryToken Secret
}

// Format prints who it is and hides the rest. Without it fmt would show the
// fields of a pointer within a slice as plain strings for some verbs.
func (c Credential) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, c.Username, ":", mask) // see Secret.Format
}

// A Keychain knows the logins of some registries. It may be asked by many
// goroutines at once, and is asked again when a login is refused or expires.
type Keychain interface {
	// Lookup returns the login for a registry. Host is its name as users write
	// it, with the port if it has one ("docker.io" for Docker Hub), and may go on
	// with a repository ("quay.io/team/app") for the stores that tell those
	// apart. False says that the keychain has none, which is not an error.
	Lookup(ctx context.Context, host string) (Credential, bool, error)
}

var _ fmt.Formatter = Credential{}

// ErrStore is in the error of a store that the user did not name for this run (a
// helper that fails, a configuration that cannot be read). A caller may go on
// without a login, and should tell of the error when it is refused then.
var ErrStore = errors.New("credential store cannot be used")

// Static is a keychain with the same login for every host: a pair of flags for
// one side of a run. With an empty user name or password it has none.
func Static(username string, password Secret) Keychain {
	if username == "" || password == "" {
		return static{}
	}
	return static{Credential{Username: username, Secret: password}}
}

type static struct{ c Credential }

func (s static) Lookup(context.Context, string) (Credential, bool, error) {
	return s.c, s.c != Credential{}, nil
}

// Only is a keychain that knows nothing of other hosts than these, whatever
// keychain k would say.
func Only(k Keychain, hosts ...string) Keychain { return only{k, hosts} }

type only struct {
	Keychain
	hosts []string
}

func (o only) Lookup(ctx context.Context, host string) (Credential, bool, error) {
	name, _, _ := strings.Cut(host, "/")
	if !slices.ContainsFunc(o.hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
		return Credential{}, false, nil
	}
	return o.Keychain.Lookup(ctx, host)
}

// Chain asks keychains in turn; the first that has a login wins. A nil one is
// passed over. One that fails with ErrStore is too, and its error is returned
// only when no other keychain has a login.
func Chain(keychains ...Keychain) Keychain { return chain(keychains) }

type chain []Keychain

func (ks chain) Lookup(ctx context.Context, host string) (Credential, bool, error) {
	var failed error
	for _, k := range ks {
		if k == nil {
			continue
		}
		c, ok, err := k.Lookup(ctx, host)
		if err != nil && !errors.Is(err, ErrStore) {
			return Credential{}, false, err
		}
		if err == nil && ok {
			return c, true, nil
		}
		if failed == nil {
			failed = err
		}
	}
	return Credential{}, false, failed
}
