package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// A bench is what the jobs work with.
type bench struct {
	env      testEnv
	program  string    // occystrap
	registry *registry // holds the image as bench:1
	other    *registry // empty at the start
	checker  *checker
	blobs    []string // the files of the layers
	layout   string   // the folder of the image
	archive  string   // the image as a tar
	most     string   // the image without its last layer, the same
	farm     *farm    // daemons of our own; nil until a job needs them
	plain    int64    // size of the plain layers
	module   string   // the folder of go.mod
	dir      string   // of this call: for what is built and unpacked
	quick    bool     // see whether it works
	goEnv    []string // what the go command needs besides
	wanted   []string // what a search finds, once it is known
	tree     treeSum  // of the image, once it was unpacked
}

// source is the image in the registry.
func (b *bench) source() repository { return b.registry.at("bench") }

// occystrap is a contender that calls "occystrap process". The destination and
// what looks at it come from the trial.
func (b *bench) occystrap(from string, to func(t trial) (string, check), filters ...string) contender {
	return contender{name: ours, start: func(_ context.Context, t trial) (attempt, error) {
		destination, look := to(t)
		return attempt{command: b.process(from, destination, filters...), check: look}, nil
	}}
}

func (b *bench) process(from, to string, filters ...string) command {
	args := []string{b.program, "--insecure", "process", from, to}
	for _, f := range filters {
		args = append(args, "-f", f)
	}
	return command{args: args}
}

// peer is a contender that is one of the tools.
func (b *bench) peer(name, key string, args func(t trial) ([]string, check)) contender {
	return contender{name: name, tool: key, start: func(_ context.Context, t trial) (attempt, error) {
		rest, look := args(t)
		return attempt{command: b.tool(key, rest...), check: look}, nil
	}}
}

// tool calls one of the tools, with what it takes to talk plain HTTP.
func (b *bench) tool(key string, args ...string) command {
	words := []string{b.env.values[key]}
	switch key {
	case "REGCTL":
		words = append(words, "--host", "reg="+b.registry.host+",tls=disabled", "--host", "reg="+b.other.host+",tls=disabled")
	case "SKOPEO":
		args = b.skopeoArgs(args)
	}
	return command{args: append(words, args...)}
}

// skopeoArgs puts skopeo's flags for plain HTTP behind "copy"; it refuses those
// for an end that is no registry.
func (b *bench) skopeoArgs(args []string) []string {
	if len(args) == 0 || args[0] != "copy" {
		return args
	}
	flags := []string{"copy"}
	from, to := args[len(args)-2], args[len(args)-1]
	if strings.HasPrefix(from, "docker://") {
		flags = append(flags, "--src-tls-verify=false")
	}
	if strings.HasPrefix(to, "docker://") {
		flags = append(flags, "--dest-tls-verify=false")
	}
	return append(flags, args[1:]...)
}

// privateHome keeps this user's logins and settings out: the tools that are
// measured and occystrap find empty ones, and put temporary files in one place.
func privateHome(dir string) error {
	tmp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"HOME":               dir,
		"DOCKER_CONFIG":      filepath.Join(dir, "docker"),
		"REGCTL_CONFIG":      filepath.Join(dir, "regctl.json"),
		"REGISTRY_AUTH_FILE": filepath.Join(dir, "auth.json"),
		"TMPDIR":             tmp,
	} {
		if err := os.Setenv(key, value); err != nil {
			return err
		}
	}
	for _, e := range os.Environ() {
		key, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(key, "OCCYSTRAP_") || key == "DOCKER_HOST" || key == "DOCKER_CONTEXT" {
			if err := os.Unsetenv(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// toolVersions asks the tools for their versions.
func toolVersions(ctx context.Context, env testEnv, program string) map[string]string {
	out := map[string]string{}
	for name, args := range map[string][]string{
		ours:       {program, "version"},
		"crane":    {env.values["CRANE"], "version"},
		"regctl":   {env.values["REGCTL"], "version", "--format", "{{.VCSTag}}"},
		"skopeo":   {env.values["SKOPEO"], "--version"},
		"registry": {env.values["REGISTRY_BIN"], "--version"},
	} {
		if args[0] == "" {
			continue
		}
		if text, err := output(ctx, args...); err == nil {
			line, _, _ := strings.Cut(text, "\n")
			// Some say the path that they were started by, which is nobody's business.
			out[name] = strings.ReplaceAll(line, args[0], filepath.Base(args[0]))
		}
	}
	return out
}
