package cliplugin

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/scheme/bundle"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
	"github.com/occystrap/occystrap/plugin/content"
	"github.com/occystrap/occystrap/plugin/graphdriver/layers"
)

// Variables that say where containerd is, as to ctr and nerdctl.
const (
	containerdAddress   = "CONTAINERD_ADDRESS"
	containerdNamespace = "CONTAINERD_NAMESPACE"
)

// further are the schemes beyond those of pipeline/builtin: containerd's, and
// those that Main was given.
func (p *program) further(events pipeline.Events) []pipeline.Scheme {
	return append([]pipeline.Scheme{content.Scheme(content.Config{
		Address: os.Getenv(containerdAddress), Namespace: os.Getenv(containerdNamespace), Limits: p.options.limits(), Events: events,
	})}, p.extra...)
}

// lanes are the ways into and out of daemons beyond those of pipeline/scheme/daemon.
func (p *program) lanes(pipeline.Events) []daemon.Lane {
	fromContent, fromLayers := content.LaneConfig{Limits: p.options.limits()}, layers.Lane{}
	if c := p.lender(); c != nil {
		fromContent.Lender, fromLayers.Lender = c, c
	}
	return []daemon.Lane{content.Lane(fromContent), fromLayers}
}

// schemes are all places that images can live in.
func (p *program) schemes(places builtin.Config) pipeline.Schemes {
	return builtin.Schemes(places, p.further(places.Tarball.Events)...)
}

// places set up the schemes as the options say. Nothing is opened or dialled
// yet.
func (p *program) places(cmd *cobra.Command, events pipeline.Events, from, to string) (builtin.Config, error) {
	if err := p.checkStreams(cmd, from, to); err != nil {
		return builtin.Config{}, err
	}
	o := &p.options
	epoch, err := sourceDateEpoch(cmd)
	if err != nil {
		return builtin.Config{}, err
	}
	login, err := o.login(p.docker.In())
	if err != nil {
		return builtin.Config{}, err
	}
	return builtin.Config{
		Remote: remote.Config{
			Source:      login.keychain(o.sourceCredentials),
			Sink:        login.keychain(o.destinationCredentials),
			Insecure:    o.insecure,
			CA:          o.ca,
			SkipVerify:  o.skipVerify,
			Compression: pipeline.Compression(o.compression.value),
			Workers:     o.parallel.value,
			Retries:     o.requestRetries(),
			RateLimit:   int64(o.rateLimit),
			UserAgent:   p.userAgent(),
			Events:      o.requests(events),
		},
		Tarball: tarball.Config{
			TempDir: o.tempDir,
			Stdin:   p.docker.In(),
			Stdout:  p.docker.Out(),
			Events:  events,
		},
		Daemon: daemon.Config{
			Client:  daemonClient(p, p.docker.Client),
			Host:    func() string { return p.docker.DockerEndpoint().Host },
			Connect: p.daemonAt,
			Forward: daemon.ForwardSSH,
			Lanes:   p.lanes(events),
			TempDir: o.tempDir,
			Events:  events,
		},
		Dir:     dir.Config{Events: events, Limits: o.limits()},
		Bundle:  bundle.Config{Events: events, Limits: o.limits(), TempDir: o.tempDir},
		Overlay: overlay.Config{Events: events, Limits: o.limits()},
		Filter:  filter.Defaults{Epoch: epoch, TempDir: o.tempDir, Search: p.searchResults(to, events)},
		Others:  o.others(login, from, to),
	}, nil
}

// requestRetries is the number of retries as package remote takes it, where 0
// is the default and not none.
func (o *options) requestRetries() int {
	if o.retries.value == 0 {
		return -1
	}
	return o.retries.value
}

// requests keeps the line that a registry's end tells of each request for
// --debug.
func (o *options) requests(events pipeline.Events) pipeline.Events {
	return func(e pipeline.Event) {
		if e.Kind != pipeline.EventDetail || o.debug {
			events(e)
		}
	}
}

// checkStreams refuses two uses of the same standard stream, and an archive on
// a terminal.
func (p *program) checkStreams(cmd *cobra.Command, from, to string) error {
	source, err := pipeline.ParseLocation(from)
	if err != nil {
		return err
	}
	if isStandardStream(source) && p.options.passwordStdin {
		return usage(cmd, "SOURCE and --password-stdin both read standard input; give the password in OCCYSTRAP_PASSWORD or in a file")
	}
	if to == "" { // a command that only reads
		return nil
	}
	destination, err := pipeline.ParseLocation(to)
	if err != nil {
		return err
	}
	if isStandardStream(destination) && p.docker.Out().IsTerminal() {
		return usage(cmd, "An archive is not written to a terminal; redirect standard output")
	}
	return nil
}
