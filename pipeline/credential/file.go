package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/docker/cli/cli/config/configfile"
)

// File is a keychain of a file that the user named for one side of a run. It
// holds one of
//
//	user:password                               (the first line counts)
//	{"username": "user", "password": "…"}
//	{"auths": {"registry.example": {"auth": "…"}}}   (Docker's config.json)
//
// The first two count for every host. The file is read at each lookup, so that
// it may be replaced; one that cannot be read or understood is an error. It
// should be readable by its owner only; that is not checked, as mounted secrets
// often are readable by more.
func File(path string) Keychain { return file(path) }

type file string

func (f file) Lookup(_ context.Context, host string) (Credential, bool, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return Credential{}, false, fmt.Errorf("read credentials: %w", err)
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return f.json(text, host)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	user, password, ok := strings.Cut(strings.TrimRight(line, "\r"), ":")
	if !ok || user == "" || password == "" {
		return Credential{}, false, fmt.Errorf("credentials file %s: the first line is not user:password", f)
	}
	return Credential{Username: user, Secret: Secret(password)}, true, nil
}

func (f file) json(text []byte, host string) (Credential, bool, error) {
	var pair struct {
		Username string          `json:"username"`
		Password string          `json:"password"`
		Auths    json.RawMessage `json:"auths"`
	}
	if json.Unmarshal(text, &pair) == nil && pair.Username != "" && pair.Password != "" {
		return Credential{Username: pair.Username, Secret: Secret(pair.Password)}, true, nil
	}
	var cf *configfile.ConfigFile
	cf, err := parseConfig(text)
	if err != nil || pair.Auths == nil {
		return Credential{}, false, fmt.Errorf("credentials file %s: its JSON has neither username and password nor auths", f)
	}
	c, ok := auths(cf, host)
	return c, ok, nil
}
