//go:build unix

// Package containerd has the script that makes containerd and Docker clients of the
// proxy; here it is run in a temporary root.
package containerd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// A machine is a temporary root with containerd and Docker.
type machine struct {
	t    *testing.T
	root string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	for _, d := range []string{"etc/containerd", "etc/docker"} {
		if err := os.MkdirAll(filepath.Join(m.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// run runs the script and returns what it prints; it must end with code.
func (m machine) run(code int, args ...string) string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "sh", append([]string{"install-hosts.sh", "--root", m.root}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		m.t.Fatalf("%q ends with %d, want %d:\n%s", args, got, code, out)
	}
	return string(out)
}

func (m machine) write(name, content string) {
	m.t.Helper()
	at := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// read is a file; "" where there is none.
func (m machine) read(name string) string {
	m.t.Helper()
	raw, err := os.ReadFile(filepath.Join(m.root, name))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(raw)
}

// A mirror is a host of a hosts.toml.
type mirror struct {
	Capabilities []string          `toml:"capabilities"`
	DialTimeout  string            `toml:"dial_timeout"`
	CA           string            `toml:"ca"`
	Header       map[string]string `toml:"header"`
}

// hostsFile is what containerd reads of a hosts.toml.
type hostsFile struct {
	Server string            `toml:"server"`
	CA     []string          `toml:"ca"`
	Client [][]string        `toml:"client"`
	Host   map[string]mirror `toml:"host"`
}

func (m machine) hosts(name string) hostsFile {
	m.t.Helper()
	var f hostsFile
	d := toml.NewDecoder(strings.NewReader(m.read(name)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		m.t.Fatalf("%s: %v\n%s", name, err, m.read(name))
	}
	return f
}

func (m machine) want(name string, want hostsFile) {
	m.t.Helper()
	if diff := cmp.Diff(want, m.hosts(name)); diff != "" {
		m.t.Errorf("%s: %s", name, diff)
	}
}

// plain is a mirror as it always is: for pulling only.
var plain = mirror{Capabilities: []string{"pull", "resolve"}, DialTimeout: "200ms"}

func TestBothDaemonsGetAFileForEachRegistry(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.run(0, "docker.io", "registry.example:5000", "http://plain.example", "_default")
	at := map[string]mirror{"http://127.0.0.1:5050": plain}
	for _, d := range []string{"etc/containerd/certs.d/", "etc/docker/certs.d/"} {
		m.want(d+"docker.io/hosts.toml", hostsFile{Server: "https://registry-1.docker.io", Host: at})
		m.want(d+"registry.example_5000_/hosts.toml", hostsFile{Server: "https://registry.example:5000", Host: at})
		m.want(d+"plain.example/hosts.toml", hostsFile{Server: "http://plain.example", Host: at})
		m.want(d+"_default/hosts.toml", hostsFile{Host: at}) // a server would get all pushes
	}
}

func TestOptionsAreInTheFile(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("secret", "0123456789abcdef0123\n")
	m.run(0, "--proxy", "https://proxy.example:5443/", "--ca", "/etc/occystrap/ca.pem", "--secret", filepath.Join(m.root, "secret"), "--dir", "/srv/hosts", "--only", "ghcr.io")
	with := plain
	with.CA, with.Header = "/etc/occystrap/ca.pem", map[string]string{"Occystrap-Secret": "0123456789abcdef0123"}
	m.want("srv/hosts/ghcr.io/hosts.toml", hostsFile{Server: "https://proxy.example:5443", Host: map[string]mirror{"https://proxy.example:5443": with}})
	info, err := os.Stat(filepath.Join(m.root, "srv/hosts/ghcr.io/hosts.toml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the secret: %v, %v", info.Mode(), err)
	}
	if m.read("etc/docker/certs.d/ghcr.io/hosts.toml") != "" {
		t.Error("a directory that was not named")
	}
}

// What was there comes back, however often the script ran in between.
func TestRemoveGivesBackWhatWasThere(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const before, dir = "server = \"https://own.example\"\n", "etc/containerd/certs.d/"
	m.write(dir+"ghcr.io/hosts.toml", before)
	m.write(dir+"quay.io/ca.crt", "authority")
	m.write(dir+"quay.io/me.cert", "certificate")
	m.write(dir+"quay.io/me.key", "key")
	m.run(0, "ghcr.io", "quay.io", "docker.io")
	once := m.read(dir + "ghcr.io/hosts.toml")
	m.run(0, "ghcr.io", "quay.io", "docker.io")
	if again := m.read(dir + "ghcr.io/hosts.toml"); again != once || m.read(dir+"ghcr.io/hosts.toml.before-occystrap") != before {
		t.Errorf("the second time it is\n%s\nafter\n%s", again, once)
	}
	// The registry's own certificates count as before.
	m.want(dir+"quay.io/hosts.toml", hostsFile{
		Server: "https://quay.io", CA: []string{"/" + dir + "quay.io/ca.crt"}, Client: [][]string{{"/" + dir + "quay.io/me.cert", "/" + dir + "quay.io/me.key"}},
		Host: map[string]mirror{"http://127.0.0.1:5050": plain},
	})
	for range 2 {
		m.run(0, "--remove", "ghcr.io", "quay.io", "docker.io", "never.example")
		if got := m.read(dir + "ghcr.io/hosts.toml"); got != before {
			t.Errorf("it is %q", got)
		}
	}
	for _, name := range []string{"quay.io/hosts.toml", "docker.io/hosts.toml", "ghcr.io/hosts.toml.before-occystrap", "ghcr.io/.hosts.toml.new"} {
		if m.read(dir+name) != "" {
			t.Errorf("%s is left behind", name)
		}
	}
	if m.read(dir+"quay.io/ca.crt") == "" {
		t.Error("a certificate is gone")
	}
	if _, err := os.Stat(filepath.Join(m.root, dir+"docker.io")); err == nil {
		t.Error("an empty directory is left behind")
	}
}

func TestMistakesWriteNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("bad", "two\nlines of a secret")
	for _, args := range [][]string{
		{},
		{"--proxy", "127.0.0.1:5050", "docker.io"},
		{"--proxy", "http://x\"y", "docker.io"},
		{"--proxy"},
		{"--no"},
		{"docker.io", "Docker.io"},
		{"../etc"},
		{"a/b"},
		{"docker.io\""},
		{"--secret", filepath.Join(m.root, "bad"), "docker.io"},
		{"--secret", filepath.Join(m.root, "none"), "docker.io"},
	} {
		if out := m.run(2, args...); !strings.Contains(out, "install-hosts.sh: ") {
			t.Errorf("%q: %s", args, out)
		}
	}
	for _, d := range []string{"etc/containerd/certs.d", "etc/docker/certs.d"} {
		if list, err := os.ReadDir(filepath.Join(m.root, d)); err == nil && len(list) > 0 {
			t.Errorf("%s has %v", d, list)
		}
	}
}

// The default of containerd's configuration is a list, which its transfer service
// does not read.
func TestAListOfDirectoriesIsToldOf(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for config, told := range map[string]bool{
		"": true, "config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"": true, "  config_path = \"/etc/containerd/certs.d\"": false, "# config_path = \"/etc/containerd/certs.d\"": true,
	} {
		m.write("etc/containerd/config.toml", config)
		if out := m.run(0, "docker.io"); strings.Contains(out, "that one path only") != told {
			t.Errorf("with %q it says\n%s", config, out)
		}
	}
}

func TestHelpIsTheHeadOfTheScript(t *testing.T) {
	t.Parallel()
	if out := newMachine(t).run(0, "--help"); !strings.Contains(out, "--secret FILE") || strings.Contains(out, "set -eu") || strings.Contains(out, "# ") {
		t.Errorf("%s", out)
	}
}
