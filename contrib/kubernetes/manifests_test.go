// Package kubernetes holds manifests that run the proxy on each node of a cluster;
// its tests read them as strictly as the API server does.
package kubernetes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The fields of the API that the manifests have. There is no other: a mistyped one
// is an error here, where the API server warns at best.
type (
	meta struct {
		Name   string
		Labels map[string]string
	}
	daemonSet struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Spec       struct {
			Selector struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			}
			UpdateStrategy struct {
				Type          string
				RollingUpdate struct {
					MaxUnavailable int `yaml:"maxUnavailable"`
				} `yaml:"rollingUpdate"`
			} `yaml:"updateStrategy"`
			Template struct {
				Metadata meta
				Spec     pod
			}
		}
	}
	pod struct {
		HostNetwork                   bool   `yaml:"hostNetwork"`
		DNSPolicy                     string `yaml:"dnsPolicy"`
		AutomountServiceAccountToken  bool   `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            bool   `yaml:"enableServiceLinks"`
		PriorityClassName             string `yaml:"priorityClassName"`
		TerminationGracePeriodSeconds int    `yaml:"terminationGracePeriodSeconds"`
		Tolerations                   []struct{ Operator string }
		SecurityContext               struct {
			FSGroup        int64                 `yaml:"fsGroup"`
			SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		InitContainers []container `yaml:"initContainers"`
		Containers     []container
		Volumes        []struct {
			Name      string
			ConfigMap *struct{ Name string } `yaml:"configMap"`
			Secret    *struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
			}
			HostPath *struct{ Path, Type string } `yaml:"hostPath"`
			EmptyDir *struct {
				SizeLimit string `yaml:"sizeLimit"`
			} `yaml:"emptyDir"`
		}
	}
	container struct {
		Name, Image     string
		ImagePullPolicy string `yaml:"imagePullPolicy"`
		Command, Args   []string
		Ports           []struct {
			Name, Protocol string
			ContainerPort  int    `yaml:"containerPort"`
			HostPort       int    `yaml:"hostPort"`
			HostIP         string `yaml:"hostIP"`
		}
		StartupProbe    *probe `yaml:"startupProbe"`
		ReadinessProbe  *probe `yaml:"readinessProbe"`
		LivenessProbe   *probe `yaml:"livenessProbe"`
		SecurityContext struct {
			RunAsNonRoot             bool  `yaml:"runAsNonRoot"`
			RunAsUser                int64 `yaml:"runAsUser"`
			RunAsGroup               int64 `yaml:"runAsGroup"`
			AllowPrivilegeEscalation bool  `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop, Add []string }
		} `yaml:"securityContext"`
		Resources    struct{ Requests, Limits map[string]string }
		Env          []struct{ Name, Value string }
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		HTTPGet struct {
			Host, Path string
			Port       int
		} `yaml:"httpGet"`
		PeriodSeconds    int `yaml:"periodSeconds"`
		TimeoutSeconds   int `yaml:"timeoutSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
	kustomization struct {
		APIVersion         string `yaml:"apiVersion"`
		Kind               string
		Namespace          string
		Resources          []string
		ConfigMapGenerator []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
		Images []struct {
			Name    string
			NewName string `yaml:"newName"`
			NewTag  string `yaml:"newTag"`
		}
	}
)

// read decodes a file that holds one document, with no field that is not in v.
func read(t *testing.T, name string, v any) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		t.Fatalf("%s has another document: %v", name, err)
	}
	return string(raw)
}

func TestTheDaemonSetFitsItself(t *testing.T) {
	t.Parallel()
	var d daemonSet
	read(t, "daemonset.yaml", &d)
	p := d.Spec.Template.Spec
	if d.APIVersion != "apps/v1" || d.Kind != "DaemonSet" || len(p.Containers) != 1 || len(p.InitContainers) != 1 {
		t.Fatalf("it is no daemon set of one container and one that sets up: %+v", d)
	}
	for k, v := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Metadata.Labels[k] != v {
			t.Errorf("the selector wants %s=%s, the pods have %v", k, v, d.Spec.Template.Metadata.Labels)
		}
	}
	var volumes, used []string
	for _, v := range p.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		for _, m := range c.VolumeMounts {
			used = append(used, m.Name)
			if !slices.Contains(volumes, m.Name) {
				t.Errorf("%s mounts %s, which is no volume", c.Name, m.Name)
			}
		}
		s := c.SecurityContext
		if s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || c.Resources.Limits["memory"] == "" {
			t.Errorf("%s may do too much: %+v, %+v", c.Name, s, c.Resources)
		}
	}
	for _, v := range volumes {
		if !slices.Contains(used, v) {
			t.Errorf("nobody mounts %s", v)
		}
	}
	proxy := p.Containers[0]
	for _, q := range []*probe{proxy.StartupProbe, proxy.ReadinessProbe, proxy.LivenessProbe} {
		if q == nil || q.HTTPGet.Host != "127.0.0.1" || q.HTTPGet.Port != proxy.Ports[0].ContainerPort || q.HTTPGet.Path != "/readyz" && q.HTTPGet.Path != "/healthz" {
			t.Errorf("a probe asks %+v", q)
		}
	}
	if proxy.Ports[0].HostPort != proxy.Ports[0].ContainerPort || !p.HostNetwork || !proxy.SecurityContext.RunAsNonRoot || proxy.SecurityContext.RunAsUser == 0 {
		t.Errorf("the proxy is not as it should be: %+v", proxy)
	}
}

// The hosts that the node asks the proxy for are those that the proxy mirrors.
func TestNodesAskForWhatIsMirrored(t *testing.T) {
	t.Parallel()
	var d daemonSet
	read(t, "daemonset.yaml", &d)
	settings, err := os.ReadFile("config.toml")
	if err != nil {
		t.Fatal(err)
	}
	var mirrored []string
	for line := range strings.Lines(string(settings)) {
		if host, ok := strings.CutPrefix(strings.TrimSpace(line), "host = "); ok {
			mirrored = append(mirrored, strings.Trim(host, `"`))
		}
	}
	command := strings.Join(d.Spec.Template.Spec.InitContainers[0].Command, " ")
	_, hosts, _ := strings.Cut(command, "/etc/containerd/certs.d ")
	if asked := strings.Fields(hosts); len(asked) == 0 || !slices.Equal(asked, mirrored) {
		t.Errorf("nodes ask for %v, and %v are mirrored", asked, mirrored)
	}
}

func TestTheKustomizationHasEverything(t *testing.T) {
	t.Parallel()
	var k kustomization
	read(t, "kustomization.yaml", &k)
	files := slices.Clone(k.Resources)
	for _, c := range k.ConfigMapGenerator {
		files = append(files, c.Files...)
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
	var n struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
	}
	read(t, "namespace.yaml", &n)
	var d daemonSet
	text := read(t, "daemonset.yaml", &d)
	if n.Metadata.Name != k.Namespace || !strings.Contains(text, "configMap: {name: "+k.ConfigMapGenerator[0].Name+"}") || d.Spec.Template.Spec.Containers[0].Image != k.Images[0].Name+":latest" {
		t.Errorf("names do not fit: %+v, %+v", n, k)
	}
}
