package cliplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	side "github.com/occystrap/occystrap/sidecar"
	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// proxyOptions are those that only "proxy" takes.
type proxyOptions struct {
	downstream, upstream               string
	upstreamUsername, upstreamPassword string
	listen                             []string
	filters                            []string
	concurrency                        count
	store                              string
	storeSize                          size
	offline                            bool
	digest                             choice
}

const defaultConcurrency = 4

func (p *program) proxyCommand() *cobra.Command {
	o := proxyOptions{concurrency: count{value: defaultConcurrency, least: 1}}
	cmd := &cobra.Command{
		Use:   "proxy [OPTIONS]",
		Short: "Run a registry here that filters what is pushed and pulled through it",
		Long: `Run a registry here that filters what is pushed and pulled through it, until
Ctrl-C. Without options it is a local registry.

What is pushed goes through the filters and then downstream, while it arrives;
without --downstream it is kept here. With --upstream it answers for names that nobody
has pushed with images of that registry, and keeps them. A name that begins with the
host of the upstream leads there too.

Only root and the user who started it are let in. As a service: occystrapd proxy.`,
		Example: `  occystrap proxy
  occystrap proxy --downstream ghcr.io/myorg -f normalize-timestamps -f 'exclude:pattern=**/.git/**'
  occystrap proxy --upstream docker.io --store-size 20g
  occystrap proxy --listen 127.0.0.1:5051 --upstream user:token@registry.example/team`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return p.proxy(ctx, cmd, o)
		},
		Annotations:           map[string]string{runsItself: ""},
		DisableFlagsInUseLine: true,
	}
	o.install(cmd)
	cmd.AddCommand(p.proxyStatusCommand())
	return cmd
}

func (o *proxyOptions) install(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.downstream, "downstream", "d", "", "Registry that gets what is pushed: [USER:TOKEN@]HOST[/PREFIX] ($OCCYSTRAP_DOWNSTREAM)")
	flags.StringVarP(&o.upstream, "upstream", "u", "", "Registry that is pulled from: [USER:TOKEN@]HOST[/PREFIX] ($OCCYSTRAP_UPSTREAM)")
	flags.StringVar(&o.upstreamUsername, "upstream-username", "", "User upstream ($OCCYSTRAP_UPSTREAM_USERNAME)")
	flags.StringVar(&o.upstreamPassword, "upstream-password", "", "Password upstream; better set $OCCYSTRAP_UPSTREAM_PASSWORD")
	flags.StringArrayVarP(&o.listen, "listen", "l", []string{side.DefaultListen}, "Address to listen at, as HOST:PORT; repeatable")
	flags.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter to apply, as NAME:option=value,option=value; repeatable")
	flags.Var(&o.concurrency, "concurrency", "Images in work at once")
	flags.StringVar(&o.store, "store", "", "Folder for images (default $XDG_DATA_HOME/occystrap/proxy)")
	flags.Var(&o.storeSize, "store-size", "Bytes to keep there, as 20g; the longest unused go first (default no bound)")
	flags.BoolVar(&o.offline, "offline", false, "Ask no upstream: serve what is here")
	o.digest = choice{value: "exact", allowed: []string{"exact", "refuse"}}
	flags.Var(&o.digest, "by-digest", "What a pull by digest gets where filters would change the image: exact bytes, or refuse")
	_ = cmd.RegisterFlagCompletionFunc("filter", completeFilters) // fails only for flags that do not exist
	_ = cmd.RegisterFlagCompletionFunc("by-digest", fixed(o.digest.allowed))
}

// proxy serves until ctx ends, which is no failure.
func (p *program) proxy(ctx context.Context, cmd *cobra.Command, o proxyOptions) error {
	c, err := p.proxyConfig(o)
	if err != nil {
		return err
	}
	if c.Filter.Epoch, err = sourceDateEpoch(cmd); err != nil {
		return err
	}
	p.results = &results{w: p.docker.Out()}
	notes := p.proxyNotes()
	c.Filter.Search = p.searchResults("", (&notices{w: p.docker.Err()}).event)
	c.Log = notes.log()
	for i, address := range o.listen {
		if o.listen[i], err = side.ListenAddress(address); err != nil {
			return err
		}
	}
	return inTerminal(side.ServeProxy(ctx, side.ProxyRun{
		Config: c, Listen: o.listen, Log: c.Log,
		Started: notes.started(c),
		Ended:   notes.ended,
	}))
}

// inTerminal says where what a terminal's proxy does not do is done.
func inTerminal(err error) error {
	if errors.Is(err, access.ErrOpen) {
		return fmt.Errorf("%w; in a terminal the proxy is for this machine: occystrapd proxy serves others, with TLS and logins", err)
	}
	return err
}

// proxyConfig is the command line as the proxy takes it.
func (p *program) proxyConfig(o proxyOptions) (c proxy.Config, err error) {
	login, err := p.options.login(p.docker.In())
	if err != nil {
		return c, err
	}
	if o.store == "" {
		if o.store, err = userStore(os.Getenv); err != nil {
			return c, err
		}
	}
	all := &p.options
	c = proxy.Config{
		Program: p.userAgent(), Concurrency: o.concurrency.value, Parallel: all.parallel.value,
		Compression: pipeline.Compression(all.compression.value), Recompress: pipeline.Recompress(all.recompress.value),
		LayerCache: all.layerCache, LayerCacheSize: int64(all.layerCacheSize), TempDir: all.tempDir, Offline: o.offline,
		Store:  proxy.StoreConfig{Dir: o.store, High: int64(o.storeSize)},
		Access: proxy.Access{Peers: ownPeers()},
	}
	c.All = rules.Spec{Filters: o.filters, Attestations: all.attestations.value, Digest: o.digest.value}
	keys := proxy.Keys{Getenv: func(name string) string {
		switch {
		case name == proxy.UpstreamUser && o.upstreamUsername != "":
			return o.upstreamUsername
		case name == proxy.UpstreamPassword && o.upstreamPassword != "":
			return o.upstreamPassword
		}
		return dockerEnvironment(name)
	}, Username: login.username, Password: login.password}
	if o.downstream != "" {
		if c.Downstream, err = proxy.ParseRemote(o.downstream, keys.Downstream(all.destinationCredentials)); err != nil {
			return c, fmt.Errorf("--downstream: %w", err)
		}
		c.Downstream.Insecure, c.Downstream.SkipVerify, c.Downstream.CA, c.Downstream.Private = all.insecure, all.skipVerify, all.ca, true
	}
	if o.upstream == "" {
		return c, nil
	}
	if err := c.AddDefault(o.upstream, keys); err != nil {
		return c, fmt.Errorf("--upstream: %w", err)
	}
	u := &c.Upstreams[0]
	if all.sourceCredentials != "" {
		u.Keys = credential.File(all.sourceCredentials)
	}
	u.Insecure, u.SkipVerify, u.CA, u.Private = all.insecure, all.skipVerify, all.ca, true // the user has named it
	return c, nil
}

// userStore is where a user's images are kept (XDG Base Directory Specification).
func userStore(getenv func(string) string) (string, error) {
	dir := getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(dir) {
		home := getenv("HOME")
		if home == "" {
			var err error
			if home, err = os.UserHomeDir(); err != nil {
				return "", errors.New("there is no home folder to keep images in; name a folder with --store")
			}
		}
		dir = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(dir, standAloneName, "proxy"), nil
}

// ownPeers are who may connect: root, and who started it. Elsewhere than on Unix
// there is no telling.
func ownPeers() []uint32 {
	uid := os.Geteuid()
	if uid < 0 {
		return nil
	}
	return []uint32{0, uint32(uid)}
}
