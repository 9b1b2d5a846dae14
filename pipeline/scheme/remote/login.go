package remote

import (
	"context"
	"errors"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
)

// login lets the user name and password of a URI win over a keychain.
func login(loc pipeline.Location, keys credential.Keychain) credential.Keychain {
	username, password := loc.Query["username"], loc.Query["password"]
	if loc.User != nil {
		username = loc.User.Username()
		if p, ok := loc.User.Password(); ok {
			password = p
		}
	}
	if username == "" && password == "" {
		return keys
	}
	return uriLogin{username, credential.Secret(password), keys}
}

// A uriLogin is a login of which a URI gives at least a half; the other half is
// the keychain's.
type uriLogin struct {
	username string
	secret   credential.Secret
	keys     credential.Keychain
}

func (u uriLogin) Lookup(ctx context.Context, host string) (credential.Credential, bool, error) {
	c := credential.Credential{Username: u.username, Secret: u.secret}
	if c.Username != "" && c.Secret != "" {
		return c, true, nil
	}
	have, err := lookup(ctx, u.keys, host)
	if err != nil && !errors.Is(err, credential.ErrStore) {
		return c, false, err
	}
	if c.Username == "" {
		c.Username = have.Username
	}
	if c.Secret == "" {
		c.Secret = have.Secret
	}
	if c.Username == "" || c.Secret == "" {
		return c, false, pipeline.Usage("the login for %s has only one of user name and password; give both", host)
	}
	return c, true, nil
}

// lookup asks a keychain that may be nil; nobody is the zero Credential.
func lookup(ctx context.Context, keys credential.Keychain, host string) (credential.Credential, error) {
	if keys == nil {
		return credential.Credential{}, nil
	}
	c, ok, err := keys.Lookup(ctx, host)
	if !ok {
		c = credential.Credential{}
	}
	return c, err
}
