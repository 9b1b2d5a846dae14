package pipelinetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// envPrefix begins every key of the file that the test environment writes.
const envPrefix = "OCCYSTRAP_TEST_"

// Env returns a value of the test environment: the address of a real daemon or
// the path of a tool. It stands in the file that $OCCYSTRAP_TEST_ENV names, or
// in contrib/testenv/.cache/env of this module. Where the key is missing the
// test is skipped with the reason that the environment gives; with CI=true it
// fails.
func Env(t testing.TB, key string) string {
	t.Helper()
	file, values, err := readEnv()
	if err != nil {
		t.Fatalf("read the test environment: %v", err)
	}
	if v := values[key]; v != "" {
		return v
	}
	reason := values[envPrefix+"MISSING_"+strings.TrimPrefix(key, envPrefix)]
	switch {
	case reason != "":
		// The file is read by shells too, so a reason is one word there.
		reason = strings.ReplaceAll(reason, "_", " ")
	case values == nil:
		reason = "there is no " + file + "; make testenv writes it"
	default:
		reason = file + " does not have it; make testenv writes it"
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: %s", key, reason)
	}
	t.Skipf("%s is missing: %s", key, reason)
	return ""
}

// LookupEnv returns a value of the test environment as Env does, and whether it
// is there, for tests of which a part can do without.
func LookupEnv(key string) (string, bool) {
	_, values, err := readEnv()
	return values[key], err == nil && values[key] != ""
}

// readEnv reads KEY=VALUE lines; values is nil where there is no such file.
func readEnv() (file string, values map[string]string, err error) {
	if file = os.Getenv("OCCYSTRAP_TEST_ENV"); file == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", nil, err
		}
		file = filepath.Join(root, "contrib", "testenv", ".cache", "env")
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil, nil
	}
	if err != nil {
		return file, nil, err
	}
	values = map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			values[key] = value
		}
	}
	return file, values, nil
}

// moduleRoot is the folder of go.mod: a test runs in that of its package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod in this folder or above it")
		}
		dir = up
	}
}
