package pipelinetest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// recorder keeps what Env says instead of ending the test with it.
type recorder struct {
	testing.TB
	how, said string
}

type ended struct{}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.how, r.said = "skip", fmt.Sprintf(format, args...)
	panic(ended{})
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.how, r.said = "fail", fmt.Sprintf(format, args...)
	panic(ended{})
}

func env(t *testing.T, key string) (value string, r *recorder) {
	t.Helper()
	r = &recorder{TB: t}
	defer func() {
		if p := recover(); p != nil && p != any(ended{}) {
			panic(p)
		}
	}()
	value = pipelinetest.Env(r, key)
	return value, r
}

// TestEnvSaysWhyADaemonIsMissing: a key that is there is returned; a missing one
// skips with the reason, and fails where nothing may be left out.
func TestEnvSaysWhyADaemonIsMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	text := "OCCYSTRAP_TEST_CRANE=/opt/crane\nOCCYSTRAP_TEST_MISSING_PODMAN=needs_root,_this_is_user_jo\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, file, ci, key, value, how, said string }{
		{"there", file, "", "OCCYSTRAP_TEST_CRANE", "/opt/crane", "", ""},
		{"left out", file, "", "OCCYSTRAP_TEST_PODMAN", "", "skip", "needs root, this is user jo"},
		{"left out in CI", file, "true", "OCCYSTRAP_TEST_PODMAN", "", "fail", "OCCYSTRAP_TEST_PODMAN is missing: needs root"},
		{"never heard of", file, "", "OCCYSTRAP_TEST_NERDCTL", "", "skip", "does not have it"},
		{"no file", file + "-not", "", "OCCYSTRAP_TEST_CRANE", "", "skip", "there is no"},
		{"no file in CI", file + "-not", "true", "OCCYSTRAP_TEST_CRANE", "", "fail", "make testenv"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("OCCYSTRAP_TEST_ENV", tc.file)
			t.Setenv("CI", tc.ci)
			value, r := env(t, tc.key)
			if value != tc.value || r.how != tc.how || !strings.Contains(r.said, tc.said) {
				t.Errorf("Env = %q, %s %q; want %q, %s %q", value, r.how, r.said, tc.value, tc.how, tc.said)
			}
		})
	}
}
