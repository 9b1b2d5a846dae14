package sidecar

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// defaultStore is where a proxy keeps blobs that no unit gives a folder to.
const defaultStore = "/var/lib/occystrap-proxy"

// proxy runs the proxy daemon.
func (p *program) proxy(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "secret" {
		return p.secret(args[1:])
	}
	s, err := p.proxySettings(args)
	if err != nil || s == nil {
		return err
	}
	run, err := p.proxyRun(s)
	if err != nil {
		return err
	}
	run.Reload = func() (ProxyRun, error) {
		s, err := p.proxySettings(args)
		if err != nil {
			return ProxyRun{}, err
		}
		return p.proxyRun(s)
	}
	return ServeProxy(ctx, run)
}

// proxyRun is what the settings come to.
func (p *program) proxyRun(s *proxySettings) (ProxyRun, error) {
	cfg, err := s.config(os.Getenv)
	if err != nil {
		return ProxyRun{}, err
	}
	idle, err := s.idle()
	if err != nil {
		return ProxyRun{}, err
	}
	cfg.Program, cfg.Log = "occystrap/"+p.version, p.log
	return ProxyRun{Config: cfg, Listen: s.Listen, Idle: idle, Log: p.log}, nil
}

// stateFolders are what systemd makes of StateDirectory=occystrap-proxy, for who is
// not the proxy itself: that of a user's own unit, by two versions of systemd, and
// the system's.
func stateFolders(getenv func(string) string) (all []string) {
	if dir := getenv("STATE_DIRECTORY"); dir != "" {
		return []string{dir}
	}
	if home := getenv("HOME"); home != "" && os.Geteuid() != 0 {
		all = append(all, cmp.Or(getenv("XDG_STATE_HOME"), filepath.Join(home, ".local", "state")), cmp.Or(getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config")))
	}
	all = append(all, "/var/lib")
	for i := range all {
		all[i] = filepath.Join(all[i], "occystrap-proxy")
	}
	return all
}

// secret prints the secret of this installation.
func (p *program) secret(args []string) error {
	s, err := p.proxySettings(args)
	if err != nil || s == nil {
		return err
	}
	var name string
	var raw []byte
	for _, dir := range stateFolders(os.Getenv) {
		name = s.secret(func(string) string { return dir })
		if name == "" {
			return errors.New("the settings demand no secret")
		}
		if raw, err = os.ReadFile(name); err == nil {
			_, err = fmt.Fprintln(p.stdout, strings.TrimSpace(string(raw)))
			return err
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no secret at %s yet: the proxy makes it when it is started first, as by asking it for something", name)
	}
	return fmt.Errorf("read the secret, which is for root and the proxy: %w", err)
}

// many is a flag that may be given several times.
type many []string

func (m *many) String() string { return strings.Join(*m, ",") }

func (m *many) Set(s string) error {
	*m = append(*m, s)
	return nil
}

// proxySettings reads the command line and the file; nil when there is nothing
// more to do.
func (p *program) proxySettings(args []string) (*proxySettings, error) {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config := flags.String("config", DefaultConfig, "")
	var listen, filters many
	flags.Var(&listen, "listen", "")
	flags.Var(&filters, "f", "")
	flags.Var(&filters, "filter", "")
	dir := flags.String("store", "", "")
	downstream := flags.String("downstream", "", "")
	upstream := flags.String("upstream", "", "")
	temp := flags.String("temp-dir", "", "")
	idle := flags.String("idle", "", "")
	offline := flags.Bool("offline", false, "")
	version := flags.Bool("version", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(p.stdout, proxyHelp)
		return nil, err
	case err != nil:
		return nil, wrongOption("proxy", err)
	case flags.NArg() > 0:
		return nil, &usageError{fmt.Sprintf("proxy takes no argument but secret, and %q was given", flags.Arg(0)), "\"occystrapd proxy --help\" has the options.\n"}
	case *version:
		_, err := fmt.Fprintf(p.stdout, "occystrapd %s\n", p.version)
		return nil, err
	}
	named := false
	flags.Visit(func(f *flag.Flag) { named = named || f.Name == "config" })
	// As in systemd's EnvironmentFile=, a file behind - may be missing.
	name, may := strings.CutPrefix(*config, "-")
	all, err := readSettings(name, named && !may)
	if err != nil {
		return nil, err
	}
	s := &all.Proxy
	for from, to := range map[*string]*string{
		dir: &s.Store.Dir, downstream: &s.Downstream, upstream: &s.Upstream, temp: &s.TempDir, idle: &s.Idle,
	} {
		if *from != "" {
			*to = *from
		}
	}
	if len(listen) > 0 {
		s.Listen = listen
	}
	if len(filters) > 0 {
		s.Filters = filters
	}
	s.Offline = s.Offline || *offline
	s.defaults(os.Getenv)
	return s, nil
}

// defaults are those of a unit: systemd says where its folders are.
func (s *proxySettings) defaults(getenv func(string) string) {
	if len(s.Listen) == 0 {
		s.Listen = []string{DefaultListen}
	}
	if s.Store.Dir == "" {
		s.Store.Dir = defaultStore
		// There may be several, separated by colons (systemd.exec(5)).
		if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
			s.Store.Dir = filepath.Join(dir, "store")
		}
	}
	if dir, _, _ := strings.Cut(getenv("CACHE_DIRECTORY"), ":"); s.TempDir == "" && filepath.IsAbs(dir) {
		s.TempDir = dir
	}
}

// idle reads the time; the default where none was given.
func (s *proxySettings) idle() (time.Duration, error) {
	return (&laneSettings{Idle: s.Idle}).idle()
}
