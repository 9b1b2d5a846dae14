package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// DefaultConfig is the file of settings of all daemons; it need not exist.
const DefaultConfig = "/etc/occystrap/config.toml"

// defaultIdle is as long as podman.service waits: starts are cheap, but systemd
// gives up on a unit that starts all the time.
const defaultIdle = time.Minute

// settings are what config.toml holds: a table for each daemon.
type settings struct {
	Lanes laneSettings  `toml:"lanes"`
	Proxy proxySettings `toml:"proxy"`
}

// laneSettings is the table [lanes].
type laneSettings struct {
	// Listen is the socket's path, where systemd passes none.
	Listen string `toml:"listen"`
	// Group may connect and ask; a name or a number.
	Group string `toml:"group"`
	// Users may ask besides, names or numbers; the socket has to let them connect.
	Users []string `toml:"users"`
	// Idle is when a daemon that systemd started ends; "0s" is never.
	Idle string `toml:"idle"`
	// Containerd and Docker are whose files are read.
	Containerd []containerdSettings `toml:"containerd"`
	Docker     []dockerSettings     `toml:"docker"`
	// View is the registry over containerd's images.
	View viewSettings `toml:"view"`
}

type containerdSettings struct {
	Root       string   `toml:"root"`
	Namespaces []string `toml:"namespaces"`
}

type dockerSettings struct {
	Root string `toml:"root"`
}

// defaults are those of the machine that Docker's own packages make. Of engines
// that are not there nobody asks.
func (l *laneSettings) defaults() {
	if l.Listen == "" {
		l.Listen = wire.DefaultSocket
	}
	if l.Group == "" {
		l.Group = "docker"
	}
	if l.Containerd == nil && l.Docker == nil {
		l.Containerd = []containerdSettings{{Root: "/var/lib/containerd"}, {Root: "/var/lib/docker/containerd/daemon"}}
		l.Docker = []dockerSettings{{Root: "/var/lib/docker"}}
	}
	for i := range l.Containerd {
		if l.Containerd[i].Namespaces == nil {
			l.Containerd[i].Namespaces = []string{"moby"}
		}
	}
}

// readSettings reads config.toml. A file that was not named may be missing.
func readSettings(name string, must bool) (settings, error) {
	var s settings
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read the settings: %w", err)
	}
	d := toml.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // a mistyped name would open or close a door unseen
	if err := d.Decode(&s); err != nil {
		return s, wrongSettings(name, err)
	}
	return s, nil
}

// idle reads the time; the default where none was given.
func (l *laneSettings) idle() (time.Duration, error) {
	if l.Idle == "" {
		return defaultIdle, nil
	}
	d, err := time.ParseDuration(l.Idle)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("idle is %q; it takes a time as 90s or 5m, or 0s for never", l.Idle)
	}
	return d, nil
}

// engines are whose files the lanes read.
func (l *laneSettings) engines(reader func(root string) lanes.Reader) ([]lanes.Containerd, []lanes.Docker, error) {
	var cs []lanes.Containerd
	var ds []lanes.Docker
	var roots []string
	for _, c := range l.Containerd {
		roots = append(roots, c.Root)
		cs = append(cs, lanes.Containerd{Name: "containerd at " + c.Root, Root: c.Root, Namespaces: c.Namespaces})
	}
	for _, d := range l.Docker {
		roots = append(roots, d.Root)
		ds = append(ds, lanes.Docker{Name: "docker at " + d.Root, Root: d.Root, Reader: reader(d.Root)})
	}
	for _, r := range roots {
		if !filepath.IsAbs(r) || filepath.Clean(r) != r {
			return nil, nil, fmt.Errorf("root is %q; it takes a whole path as the engine tells it, like /var/lib/docker", r)
		}
	}
	if slices.ContainsFunc(l.Containerd, func(c containerdSettings) bool { return slices.Contains(c.Namespaces, "") }) {
		return nil, nil, errors.New(`namespaces has an empty name; it takes those of containerd, like ["moby"]`)
	}
	return cs, ds, nil
}

// userID is the number of a user, by name or number.
func userID(name string) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("%q is no user of this machine", name)
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

// groupID is the number of a group, by name or number; there need not be one.
func groupID(name string) (id uint32, ok bool) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), true
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(n), err == nil
}
