package content

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// What the user writes is looked for as it is, then as tools write it.
func TestReferencesAreWhatContainerdMayHaveThemUnder(t *testing.T) {
	t.Parallel()
	const d = "sha256:e56bc0f7fc7d4452b17eb4ac0a9261ff4c9a469afa45d2b673e03650716d095d"
	for given, want := range map[string]struct {
		names            []string
		name, repository string
		digest           string
	}{
		"busybox":                        {names: []string{"busybox", "docker.io/library/busybox:latest"}, name: "docker.io/library/busybox:latest"},
		"quay.io/team/app:1":             {names: []string{"quay.io/team/app:1", "quay.io/team/app:1"}, name: "quay.io/team/app:1"},
		"localhost:5000/app":             {names: []string{"localhost:5000/app", "localhost:5000/app:latest"}, name: "localhost:5000/app:latest"},
		d:                                {names: []string{d}, digest: d},
		strings.TrimPrefix(d, "sha256:"): {names: []string{d}, digest: d},
		"app@" + d:                       {names: []string{"app@" + d, "docker.io/library/app@" + d}, repository: "docker.io/library/app", digest: d},
		"app:1@" + d: {
			names: []string{"app:1@" + d, "docker.io/library/app:1@" + d, "docker.io/library/app:1", "docker.io/library/app@" + d},
			name:  "docker.io/library/app:1", repository: "docker.io/library/app", digest: d,
		},
		"My Image":                    {names: []string{"My Image"}},
		"import-2026-01-01@sha256:12": {names: []string{"import-2026-01-01@sha256:12"}},
	} {
		r := parseReference(given)
		if !slices.Equal(r.names, want.names) || r.name != want.name || r.repository != want.repository || r.digest.String() != want.digest {
			t.Errorf("%s is %+v, want %+v", given, r, want)
		}
	}
}

func TestOriginIsTheNamesOwnWhereItWasNoted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		own   string
		noted []string
		want  string
	}{
		{"docker.io/library/app:1", nil, "docker.io/library/app:1"},
		{"docker.io/library/app:1", []string{"a.example/x", "docker.io/library/app"}, "docker.io/library/app:1"},
		{"mine.example/app:1", []string{"quay.io/team/app", "ghcr.io/team/app"}, "ghcr.io/team/app"},
		{"", nil, ""},
	} {
		if got := chooseOrigin(tc.own, tc.noted); got != tc.want {
			t.Errorf("%q among %q is %q, want %q", tc.own, tc.noted, got, tc.want)
		}
	}
}

func TestPermissionDeniedNamesTheRemedy(t *testing.T) {
	t.Parallel()
	err := place{socket: "/run/c.sock"}.unreachable(fs.ErrPermission) // root may open every socket
	for _, want := range []string{"permission denied", "/run/c.sock", "root", "?address="} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}
