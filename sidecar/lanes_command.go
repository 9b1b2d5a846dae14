package sidecar

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

const (
	// controlName is the FileDescriptorName= of the control socket.
	controlName = "control"
	// drainTime is how long streams may go on when the daemon is stopped; the
	// unit's TimeoutStopSec= is longer.
	drainTime = 20 * time.Second
)

// lanes runs the lanes daemon.
func (p *program) lanes(ctx context.Context, args []string) error {
	s, err := p.laneSettings(args)
	if err != nil || s == nil {
		return err
	}
	idle, err := s.idle()
	if err != nil {
		return err
	}
	group, known := groupID(s.Group)
	at := socket{network: wire.Network, path: s.Listen, group: -1}
	if known && os.Geteuid() == 0 {
		at.group = int(group)
	}
	sockets, err := fromSystemd()
	if err != nil {
		return err
	}
	if len(sockets) == 0 {
		idle = 0 // nobody would start it again
	}
	cfg, err := p.lanesConfig(s)
	if err != nil {
		return err
	}
	vs, err := p.viewListeners(ctx, sockets, s.View)
	if err != nil {
		return err
	}
	ls, err := listen(ctx, sockets, controlName, at)
	if err = errors.Join(err, sockets.close()); err != nil {
		return err
	}
	cfg.Groups = groupsOf(ls)
	if known {
		cfg.Groups = append(cfg.Groups, group)
	} else {
		p.log.Warn("the group of the settings is not on this machine", "group", s.Group)
	}
	server := lanes.New(cfg)
	view, err := p.view(s.View, server, vs)
	if err != nil {
		return err
	}
	return p.serveLanes(ctx, ls, vs, idle, server, view)
}

// serveLanes answers at ls with the server and at vs with the view, which one gate
// counts.
func (p *program) serveLanes(ctx context.Context, ls, vs []net.Listener, idle time.Duration, server *lanes.Server, view *http.Server) error {
	n := notifier{p.log}
	gate := NewGate(idle, func(guests int) { n.status("%d connections", guests) })
	var doors, views []*Door
	for _, l := range ls {
		p.log.Info("listening", "at", l.Addr().String())
		doors = append(doors, gate.Door(l))
	}
	for _, l := range vs {
		p.log.Info("listening", "at", l.Addr().String(), "for", "view")
		views = append(views, gate.Door(l))
	}
	return p.life(ctx, gate, n, drainTime, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go n.watch(ctx, gate.unlessShut(func(ctx context.Context) error { return askSelf(ctx, doors[0]) }))
		failed := make(chan error, len(doors)+1)
		for _, d := range doors {
			go func() {
				err := server.Serve(ctx, d)
				failed <- errors.Join(err, d.Close())
			}()
		}
		go func() { failed <- serveView(ctx, view, views) }()
		var err error
		for range cap(failed) {
			if e := <-failed; e != nil {
				err = e
			}
		}
		return err
	})
}

// laneSettings reads the command line and the file; nil when there is nothing
// more to do.
func (p *program) laneSettings(args []string) (*laneSettings, error) {
	flags := flag.NewFlagSet("lanes", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config := flags.String("config", DefaultConfig, "")
	path := flags.String("listen", "", "")
	idle := flags.String("idle", "", "")
	version := flags.Bool("version", false, "")
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp: //nolint:errorlint // package flag returns it as it is
		_, err := io.WriteString(p.stdout, help)
		return nil, err
	case err != nil:
		return nil, wrongOption("lanes", err)
	case flags.NArg() > 0:
		return nil, &usageError{fmt.Sprintf("lanes takes no argument, and %q was given", flags.Arg(0)), help}
	case *version:
		_, err := fmt.Fprintf(p.stdout, "occystrapd %s\n", p.version)
		return nil, err
	}
	named := false
	flags.Visit(func(f *flag.Flag) { named = named || f.Name == "config" })
	all, err := readSettings(*config, named)
	if err != nil {
		return nil, err
	}
	s := &all.Lanes
	if *path != "" {
		s.Listen = *path
	}
	if *idle != "" {
		s.Idle = *idle
	}
	s.defaults()
	return s, nil
}

// lanesConfig makes of the settings what package lanes takes.
func (p *program) lanesConfig(s *laneSettings) (lanes.Config, error) {
	cfg := lanes.Config{Program: p.version, Log: p.log}
	var err error
	if cfg.Containerd, cfg.Docker, err = s.engines(graphReader); err != nil {
		return cfg, err
	}
	for _, name := range s.Users {
		id, err := userID(name)
		if err != nil {
			return cfg, fmt.Errorf("[lanes] users: %w", err)
		}
		cfg.Users = append(cfg.Users, id)
	}
	return cfg, nil
}
