package filter

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

func configKind() pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "config",
		Help: "set or remove environment, labels, user, command and annotations",
		Options: []pipeline.Option{
			{Name: "env", Repeats: true, Help: "NAME=VALUE to set in the environment; repeatable"},
			{Name: "label", Aliases: []string{"labels"}, Repeats: true, Help: "NAME=VALUE to set among the labels; repeatable"},
			{Name: "annotation", Aliases: []string{"annotations"}, Repeats: true, Help: "NAME=VALUE to set among the manifest's annotations; repeatable"},
			{Name: "unset-env", Form: pipeline.List, Help: "GLOB[,GLOB…] of variables to remove"},
			{Name: "unset-label", Form: pipeline.List, Help: "GLOB[,GLOB…] of labels to remove"},
			{Name: "unset-annotation", Form: pipeline.List, Help: "GLOB[,GLOB…] of annotations to remove"},
			{Name: "user", Help: "who it runs as; empty removes it"},
			{Name: "workdir", Help: "where it runs; empty removes it"},
			{Name: "entrypoint", Form: pipeline.Words, Help: `["program","argument"], or a line for /bin/sh -c; empty removes it`},
			{Name: "cmd", Form: pipeline.Words, Help: `["program","argument"], or a line for /bin/sh -c; empty removes it`},
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) { return newConfig(o) },
	}
}

func newConfig(o pipeline.FilterOptions) (*config, error) {
	if len(o) == 0 {
		return nil, pipeline.Usage("config filter needs something to set, as in config:user=app,env=NAME=VALUE")
	}
	c := &config{noEnv: newGlobs(o.Split("unset-env")), noLabel: newGlobs(o.Split("unset-label")), noAnnotation: newGlobs(o.Split("unset-annotation"))}
	for name, to := range map[string]*[]pair{"env": &c.env, "label": &c.labels, "annotation": &c.annotations} {
		var err error
		if *to, err = pairs(name, o.List(name)); err != nil {
			return nil, err
		}
	}
	for name, to := range map[string]**string{"user": &c.user, "workdir": &c.workdir} {
		if v, ok := o[name]; ok {
			*to = &v
		}
	}
	if c.workdir != nil && *c.workdir != "" && !path.IsAbs(*c.workdir) && !strings.Contains(*c.workdir, `:\`) {
		return nil, pipeline.BadValue("workdir", *c.workdir, "a path from the root, as in /app")
	}
	for name, to := range map[string]**[]string{"entrypoint": &c.entrypoint, "cmd": &c.cmd} {
		v, ok := o[name]
		if !ok {
			continue
		}
		argv, err := command(name, v)
		if err != nil {
			return nil, err
		}
		*to = &argv
	}
	c.key = c.recipe(o)
	return c, nil
}

// pairs reads NAME=VALUE.
func pairs(option string, values []string) (out []pair, err error) {
	for _, v := range values {
		name, value, ok := strings.Cut(v, "=")
		if name == "" || !ok {
			return nil, pipeline.BadValue(option, v, fmt.Sprintf("NAME=VALUE (unset-%s=%s removes one)", option, cmp.Or(name, "NAME")))
		}
		out = append(out, pair{name, value})
	}
	return out, nil
}

// command reads a command as a Dockerfile does: a JSON array of words, or a line
// for the shell.
func command(option, v string) ([]string, error) {
	switch {
	case v == "":
		return nil, nil
	case !strings.HasPrefix(v, "["):
		return []string{"/bin/sh", "-c", v}, nil
	}
	var argv []string
	if err := json.Unmarshal([]byte(v), &argv); err != nil {
		return nil, pipeline.BadValue(option, v, `a JSON array, as in ["/app","-v"], or a line for the shell`)
	}
	return argv, nil
}

// recipe names what is set in one order; that of variables counts.
func (c *config) recipe(o pipeline.FilterOptions) string {
	byName := func(ps []pair) []pair {
		last := map[string]string{}
		for _, p := range ps {
			last[p.name] = p.value
		}
		var out []pair
		for name, value := range last {
			out = append(out, pair{name, value})
		}
		slices.SortFunc(out, func(a, b pair) int { return strings.Compare(a.name, b.name) })
		return out
	}
	key := fmt.Sprintf("config:env=%q,label=%q,annotation=%q,unset-env=%q,unset-label=%q,unset-annotation=%q",
		c.env, byName(c.labels), byName(c.annotations), c.noEnv.list, c.noLabel.list, c.noAnnotation.list)
	for _, name := range []string{"user", "workdir", "entrypoint", "cmd"} {
		if v, ok := o[name]; ok {
			key += fmt.Sprintf(",%s=%q", name, v)
		}
	}
	return key
}
