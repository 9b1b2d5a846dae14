package credential

import (
	"path/filepath"
)

// Default is the chain of the stores that a user of containers has without
// saying so, in this order:
//
//	$DOCKER_AUTH_CONFIG · Docker's config.json with its helpers ·
//	containers' auth.json · $CREDENTIALS_DIRECTORY/config.json (systemd) · .netrc
//
// Getenv reads the environment (os.Getenv).
func Default(getenv func(string) string) Keychain {
	return Chain(
		Environment(getenv("DOCKER_AUTH_CONFIG")),
		Docker(dockerDir(getenv), 0),
		Containers(getenv),
		Systemd(getenv("CREDENTIALS_DIRECTORY")),
		Netrc(getenv),
	)
}

// dockerDir is where the Docker CLI keeps config.json.
func dockerDir(getenv func(string) string) string {
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".docker")
	}
	return ""
}

// Containers is a keychain of the auth.json that podman, buildah and skopeo
// keep (containers-auth.json(5)): $REGISTRY_AUTH_FILE alone if it is set,
// otherwise ${XDG_RUNTIME_DIR}/containers/auth.json and then
// ~/.config/containers/auth.json. Keys that name a repository or a namespace
// win over those that name a host.
func Containers(getenv func(string) string) Keychain {
	if path := getenv("REGISTRY_AUTH_FILE"); path != "" {
		return &configFile{path: path}
	}
	var ks chain
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		ks = append(ks, &configFile{path: filepath.Join(dir, "containers", "auth.json"), optional: true})
	}
	dir := getenv("XDG_CONFIG_HOME")
	if home := getenv("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if dir != "" {
		ks = append(ks, &configFile{path: filepath.Join(dir, "containers", "auth.json"), optional: true})
	}
	return ks
}

// Systemd is a keychain of the config.json that a unit was given with
// LoadCredential=config.json:…, in the format of Docker's. Dir is
// $CREDENTIALS_DIRECTORY; "" has no logins.
func Systemd(dir string) Keychain {
	if dir == "" {
		return static{}
	}
	return &configFile{path: filepath.Join(dir, "config.json"), optional: true}
}
