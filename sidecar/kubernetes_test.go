package sidecar

import "testing"

// The settings of contrib/kubernetes are settings that there are.
func TestTheSettingsOfKubernetesAreRead(t *testing.T) {
	t.Parallel()
	s, err := readSettings("../contrib/kubernetes/config.toml", true)
	must(t, err)
	s.Proxy.defaults(func(string) string { return "" })
	c, err := s.Proxy.config(func(string) string { return "" })
	must(t, err)
	if c.Downstream.Host != "registry.internal:5000" || c.Downstream.Prefix != "nodes" || len(c.Upstreams) != 4 || c.Store.Dir != "/var/lib/occystrap/store" {
		t.Errorf("%+v", c)
	}
}
