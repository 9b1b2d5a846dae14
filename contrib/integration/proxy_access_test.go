//go:build integration && linux

package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A lock is a proxy that takes a login, and the login.
type lock struct {
	*proxied
	user, password string
	// readable: reading takes no login.
	readable bool
}

// locks are the two kinds: a secret for pushing, and users for everything.
func locks(t *testing.T) map[string]lock {
	t.Helper()
	dir := t.TempDir()
	secret, users := filepath.Join(dir, "secret"), filepath.Join(dir, "users")
	const password = "the password of the test"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	must(t, os.WriteFile(secret, []byte(password), 0o600))
	must(t, os.WriteFile(users, []byte("alice:"+string(hash)+"\n"), 0o600))
	return map[string]lock{
		"secret": {startProxy(t, "[proxy.access]\nsecret = \""+secret+"\"\n"), "whoever", password, true},
		"users":  {startProxy(t, "[proxy.access]\nsecret = \"none\"\nusers = \""+users+"\"\n"), "alice", password, false},
	}
}

// fails runs a program that must end with an error, and returns what it prints.
func fails(t *testing.T, key string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), pipelinetest.Env(t, key), args...).CombinedOutput()
	if err == nil {
		t.Errorf("%q works, which it must not", args)
	}
	return string(out)
}

// Every client logs in as it always does, is refused with a wrong password, and reads
// without a login where that is free.
func TestClientsLogIn(t *testing.T) {
	t.Parallel()
	for kind, l := range locks(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			t.Run("crane", func(t *testing.T) {
				t.Parallel()
				l.withCrane(t)
			})
			t.Run("skopeo", func(t *testing.T) {
				t.Parallel()
				l.withSkopeo(t)
			})
			onEachDocker(t, l.withDocker)
		})
	}
}

func (l lock) withCrane(t *testing.T) {
	bin, config := pipelinetest.Env(t, "OCCYSTRAP_TEST_CRANE"), t.TempDir()
	env := []string{"DOCKER_CONFIG=" + config}
	name := l.address + "/team/crane:1"
	image := busybox(t).archive(t, "busybox:1")
	if out := fails(t, "OCCYSTRAP_TEST_CRANE", "push", image, name); !strings.Contains(strings.ToUpper(out), "UNAUTHORIZED") {
		t.Errorf("crane says %s", out)
	}
	run(t.Context(), t, env, strings.NewReader(l.password), bin, "auth", "login", "-u", l.user, "--password-stdin", l.address)
	run(t.Context(), t, env, nil, bin, "push", image, name)
	run(t.Context(), t, env, nil, bin, "manifest", name)
	if l.readable {
		crane(t, "manifest", name)
		crane(t, "ls", strings.TrimSuffix(name, ":1"))
	} else {
		fails(t, "OCCYSTRAP_TEST_CRANE", "manifest", name)
	}
}

func (l lock) withSkopeo(t *testing.T) {
	name := "docker://" + l.address + "/team/skopeo:1"
	image := "docker-archive:" + busybox(t).archive(t, "busybox:1")
	fails(t, "OCCYSTRAP_TEST_SKOPEO", "copy", "--dest-tls-verify=false", image, name)
	fails(t, "OCCYSTRAP_TEST_SKOPEO", "copy", "--dest-tls-verify=false", "--dest-creds", l.user+":wrong", image, name)
	tool(t, "OCCYSTRAP_TEST_SKOPEO", "copy", "--dest-tls-verify=false", "--dest-creds", l.user+":"+l.password, image, name)
	if l.readable {
		tool(t, "OCCYSTRAP_TEST_SKOPEO", "inspect", "--tls-verify=false", name)
	} else {
		fails(t, "OCCYSTRAP_TEST_SKOPEO", "inspect", "--tls-verify=false", name)
	}
	tool(t, "OCCYSTRAP_TEST_SKOPEO", "inspect", "--tls-verify=false", "--creds", l.user+":"+l.password, name)
}

func (l lock) withDocker(t *testing.T, e engine) {
	bin, host, config := pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"), pipelinetest.Env(t, e.key), t.TempDir()
	name := l.address + "/team/" + e.name + ":1"
	e.docker(t, "tag", e.load(t, own(t)), name)
	t.Cleanup(func() { e.docker(t, "rmi", name) })
	as := func(args ...string) []string { return append([]string{"-H", host, "--config", config}, args...) }
	fails(t, "OCCYSTRAP_TEST_DOCKER", as("push", name)...)
	fails(t, "OCCYSTRAP_TEST_DOCKER", as("login", "-u", l.user, "-p", "wrong", l.address)...)
	run(t.Context(), t, nil, strings.NewReader(l.password), bin, as("login", "-u", l.user, "--password-stdin", l.address)...)
	run(t.Context(), t, nil, nil, bin, as("push", name)...)
	run(t.Context(), t, nil, nil, bin, as("pull", name)...)
	if l.readable {
		e.docker(t, "pull", name)
	} else {
		fails(t, "OCCYSTRAP_TEST_DOCKER", "-H", host, "--config", t.TempDir(), "pull", name)
	}
}

// containerd pulls through the proxy with what the script writes: an image that the
// proxy reads with a login, so that it takes the secret.
func TestTheScriptLetsContainerdIn(t *testing.T) {
	t.Parallel()
	registry := pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY")
	dir := t.TempDir()
	secret, login := filepath.Join(dir, "secret"), filepath.Join(dir, "login")
	must(t, os.WriteFile(secret, []byte("the-secret-of-the-test"), 0o600))
	must(t, os.WriteFile(login, []byte("robot:password"), 0o600)) // the registry takes any
	p := startProxy(t, "[proxy.access]\nsecret = \""+secret+"\"\n[[proxy.upstream]]\nhost = \""+registry+"\"\ninsecure = true\nprivate = true\ncredentials = \""+login+"\"\n")
	ref := push(t, own(t))
	script := func(options ...string) string {
		t.Helper()
		hosts := t.TempDir()
		args := append([]string{"../containerd/install-hosts.sh", "--proxy", "http://" + p.address, "--dir", hosts, "--only"}, options...)
		run(t.Context(), t, nil, nil, "sh", append(args, "http://"+registry)...)
		return hosts
	}
	t.Cleanup(func() {
		if ctrDigest(t, ref) != "" {
			ctr(t, "images", "rm", "--sync", ref)
		}
	})
	without, with := script(), script("--secret", secret)
	fails(t, "OCCYSTRAP_TEST_CTR", "--address", pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD"), "--namespace", ctrNamespace(t), "images", "pull", "--hosts-dir", without, ref)
	for _, how := range [][]string{{"--local"}, nil} { // ctr's own pull, and containerd's transfer service
		ctr(t, slices.Concat([]string{"images", "pull", "--hosts-dir", with}, how, []string{ref})...)
		if got, _ := tryDigest(t, ref); got == "" || got != ctrDigest(t, ref) {
			t.Errorf("ctr %v pulled %s, the registry has %s", how, ctrDigest(t, ref), got)
		}
	}
}
