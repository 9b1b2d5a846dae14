//go:build integration && linux

package integration

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// kubernetes is where the manifests are.
const kubernetes = "../kubernetes"

// A pod is what a kubelet needs to know of contrib/kubernetes/daemonset.yaml.
type pod struct {
	SecurityContext struct {
		FSGroup int `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	TerminationGracePeriodSeconds int            `yaml:"terminationGracePeriodSeconds"`
	InitContainers                []podContainer `yaml:"initContainers"`
	Containers                    []podContainer
	Volumes                       []podVolume
}

type podContainer struct {
	Command, Args   []string
	SecurityContext struct {
		RunAsUser                int  `yaml:"runAsUser"`
		RunAsGroup               int  `yaml:"runAsGroup"`
		AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop, Add []string }
	} `yaml:"securityContext"`
	Env          []struct{ Name, Value string }
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
	StartupProbe   podProbe `yaml:"startupProbe"`
	ReadinessProbe podProbe `yaml:"readinessProbe"`
	LivenessProbe  podProbe `yaml:"livenessProbe"`
}

type podProbe struct {
	HTTPGet struct {
		Host, Path string
		Port       int
	} `yaml:"httpGet"`
}

type podVolume struct {
	Name      string
	Secret    map[string]any
	ConfigMap map[string]any `yaml:"configMap"`
	HostPath  map[string]any `yaml:"hostPath"`
	EmptyDir  map[string]any `yaml:"emptyDir"`
}

// readPod reads the pod that each node is to have.
func readPod(t testing.TB) pod {
	t.Helper()
	var set struct {
		Spec struct{ Template struct{ Spec pod } }
	}
	must(t, yaml.Unmarshal([]byte(text(t, filepath.Join(kubernetes, "daemonset.yaml"))), &set))
	return set.Spec.Template.Spec
}

// A node runs a pod's containers, as far as Docker does what a kubelet would: with the
// manifest's own commands, users, rights and mounts, over folders of the test. The
// programs of the image are mounted into one of busybox, whose shell is that of Alpine.
type node struct {
	engine
	pod
	image string
	dirs  map[string]string // by volume
}

// newNode makes the volumes, with the keys of the secret in theirs.
func newNode(t testing.TB, e engine, secret map[string]string) node {
	t.Helper()
	n := node{engine: e, pod: readPod(t), image: e.load(t, busybox(t)), dirs: map[string]string{}}
	for _, v := range n.Volumes {
		dir := filepath.Join(t.TempDir(), v.Name)
		must(t, os.Mkdir(dir, 0o755)) // DirectoryOrCreate makes it so
		n.dirs[v.Name] = dir
		switch {
		case v.ConfigMap != nil:
			must(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text(t, filepath.Join(kubernetes, "config.toml"))), 0o644))
		case v.Secret != nil:
			for key, value := range secret {
				file := filepath.Join(dir, key)
				must(t, os.WriteFile(file, []byte(value), 0o600))
				must(t, os.Chown(file, 0, n.SecurityContext.FSGroup))
				must(t, os.Chmod(file, os.FileMode(v.Secret["defaultMode"].(int)))) //nolint:forcetypeassert // a number, or the test fails
			}
		case v.EmptyDir != nil:
			must(t, os.Chmod(dir, 0o777))
		}
	}
	return n
}

// create makes a container, not started yet, which is removed when the test ends.
func (n node) create(t testing.TB, c podContainer) string {
	t.Helper()
	s := c.SecurityContext
	name := "occystrap-pod-" + strings.ToLower(rand.Text())
	args := []string{"create", "--name", name, "--network", "none", "--user", fmt.Sprintf("%d:%d", s.RunAsUser, s.RunAsGroup), "--group-add", fmt.Sprint(n.SecurityContext.FSGroup)}
	if s.ReadOnlyRootFilesystem {
		args = append(args, "--read-only")
	}
	if !s.AllowPrivilegeEscalation {
		args = append(args, "--security-opt", "no-new-privileges")
	}
	for _, c := range s.Capabilities.Drop {
		args = append(args, "--cap-drop", c)
	}
	for _, c := range s.Capabilities.Add {
		args = append(args, "--cap-add", c)
	}
	for _, e := range c.Env {
		args = append(args, "--env", e.Name+"="+e.Value)
	}
	for _, m := range c.VolumeMounts {
		args = append(args, "--volume", n.dirs[m.Name]+":"+m.MountPath+map[bool]string{true: ":ro"}[m.ReadOnly])
	}
	hosts, err := filepath.Abs("../containerd/install-hosts.sh")
	must(t, err)
	for program, from := range map[string]string{"occystrapd": installed(t, open(t), "occystrapd"), "install-hosts.sh": hosts} {
		args = append(args, "--volume", from+":/usr/local/bin/"+program+":ro")
	}
	command := c.Command
	if len(command) == 0 {
		command = []string{"/usr/local/bin/occystrapd"} // the ENTRYPOINT of contrib/kubernetes/Dockerfile
	}
	args = append(args, "--entrypoint", command[0], n.image)
	n.docker(t, slices.Concat(args, command[1:], c.Args)...)
	t.Cleanup(func() { n.docker(t, "rm", "--force", name) })
	return name
}

// hosts are the hosts.toml files that the node's containerd would read, by registry.
func (n node) hosts(t testing.TB) map[string]string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(n.dirs["hosts"], "*", "hosts.toml"))
	must(t, err)
	all := map[string]string{}
	for _, file := range found {
		all[filepath.Base(filepath.Dir(file))] = text(t, file)
	}
	return all
}

// try runs a command in a container, or says why it fails.
func (n node) try(t testing.TB, name string, args ...string) error {
	t.Helper()
	out, err := booted{engine: n.engine, name: name}.try(t, args...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// dockerfileHas complains unless the image is made with a line.
func dockerfileHas(t testing.TB, line string) {
	t.Helper()
	if !strings.Contains(text(t, filepath.Join(kubernetes, "Dockerfile")), line+"\n") {
		t.Errorf("the Dockerfile has no line %q", line)
	}
}

// nodeEngine is the Docker whose containers are those of a node.
func nodeEngine(t testing.TB) engine {
	t.Helper()
	e := engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "docker29" })]
	pipelinetest.Env(t, e.key)
	return e
}
