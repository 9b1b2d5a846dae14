package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// envPrefix begins every key of the file that the test environment writes.
const envPrefix = "OCCYSTRAP_TEST_"

// testEnv are the values of contrib/testenv: tools and daemons, by the key
// without its prefix. What it left out stands in missing, with the reason.
type testEnv struct {
	values  map[string]string
	missing map[string]string
}

// readTestEnv reads the file that $OCCYSTRAP_TEST_ENV names, or that of this
// module. No file is an environment without anything.
func readTestEnv(module string) (testEnv, error) {
	file := os.Getenv("OCCYSTRAP_TEST_ENV")
	if file == "" {
		file = filepath.Join(module, "contrib", "testenv", ".cache", "env")
	}
	raw, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return testEnv{}, fmt.Errorf("read the test environment: %w", err)
	}
	return parseTestEnv(string(raw)), nil
}

// parseTestEnv reads KEY=VALUE lines; other lines are passed over.
func parseTestEnv(text string) testEnv {
	e := testEnv{values: map[string]string{}, missing: map[string]string{}}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		key, ours := strings.CutPrefix(key, envPrefix)
		if !ok || !ours || value == "" {
			continue
		}
		if name, gone := strings.CutPrefix(key, "MISSING_"); gone {
			e.missing[name] = strings.ReplaceAll(value, "_", " ")
			continue
		}
		e.values[key] = value
	}
	return e
}

// why says for what reason a key has no value.
func (e testEnv) why(key string) string {
	if reason := e.missing[key]; reason != "" {
		return reason
	}
	return "make testenv installs it"
}
