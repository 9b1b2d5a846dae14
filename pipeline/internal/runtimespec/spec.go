// Package runtimespec makes the config.json that runc and crun start a container
// by from what an image's config says, by the rules of the image-spec
// (conversion.md), and finds its user in the image's own files.
//
// Where the file system lies and the file is written is left to the callers.
package runtimespec

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// version is the oldest of the runtime-spec that has all that is used here:
	// crun 1.8, which Debian 12 and Podman 4 have, starts no bundle of 1.1 or later.
	version = "1.0.2"
	// hostname is that of all bundles.
	hostname = "occystrap"
	// defaultPath and defaultTerm are for images that do not set them.
	defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	defaultTerm = "TERM=xterm"
	// defaultCommand is what runc spec starts.
	defaultCommand = "sh"
	// volumesKey lists an image's volumes; conversion.md of the image-spec has no
	// key for them.
	volumesKey = "com.github.occystrap.image.volumes"
)

// The keys of conversion.md for what has no place in a runtime config.
const implicit = "org.opencontainers.image."

// The names of a bundle (runtime-spec, bundle.md): where the file system is, and
// what says how it is run.
const (
	RootFS = "rootfs"
	Config = "config.json"
)

// An Image is what is taken from an image's config. Created stays the text that
// it is.
type Image struct {
	ocispec.Platform
	Author  string              `json:"author"`
	Created string              `json:"created"`
	Config  ocispec.ImageConfig `json:"config"`
	RootFS  ocispec.RootFS      `json:"rootfs"`
}

// Options are what the user says of config.json. The zero value is for root.
type Options struct {
	// Rootless is for the user with UID and GID, who is root in the container.
	Rootless bool
	UID, GID int
	// Tmpfs gives each volume a file system in memory; Stat, which is needed then,
	// looks at a directory of the image.
	Tmpfs bool
	Stat  func(dir string) (fs.FileInfo, error)
}

// New converts an image's config. The notes are for the user.
func New(c Image, u specs.User, o Options) (s specs.Spec, notes []string) {
	kept, left := annotations(c)
	if len(left) > 0 {
		notes = append(notes, "labels that would give orders to a runtime are left out: "+strings.Join(left, ", "))
	}
	s = specs.Spec{
		Version:  version,
		Root:     &specs.Root{Path: RootFS},
		Hostname: hostname,
		Mounts:   mounts(),
		Linux: &specs.Linux{
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces:    namespaces(specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.MountNamespace, specs.CgroupNamespace),
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
		Annotations: kept,
	}
	if o.Rootless {
		if u.UID != 0 || u.GID != 0 {
			notes = append(notes, fmt.Sprintf("the image's user is %q, and a rootless bundle has one user only: it runs as root there, which is you outside", c.Config.User))
		}
		makeRootless(&s, o)
		u = specs.User{}
	}
	s.Process = process(c.Config, u)
	if n := len(c.Config.Env) - len(slices.DeleteFunc(slices.Clone(c.Config.Env), noVariable)); n > 0 {
		notes = append(notes, fmt.Sprintf("%d environment variables without a name or value are left out: no program could be started with them", n))
	}
	if len(c.Config.Entrypoint)+len(c.Config.Cmd) == 0 {
		notes = append(notes, "the image has no command; "+Config+" starts "+defaultCommand)
	}
	if o.Tmpfs {
		s.Mounts = append(s.Mounts, volumeMounts(c.Config, o)...)
	}
	return s, notes
}

// process is what is started.
func process(c ocispec.ImageConfig, u specs.User) *specs.Process {
	p := &specs.Process{
		User: u, Args: slices.Concat(c.Entrypoint, c.Cmd), Env: slices.DeleteFunc(slices.Clone(c.Env), noVariable), Cwd: path.Clean("/" + c.WorkingDir),
		Capabilities: capabilities(u), NoNewPrivileges: true,
	}
	if len(p.Args) == 0 {
		p.Args = []string{defaultCommand}
	}
	for _, v := range []string{defaultPath, defaultTerm} {
		name, _, _ := strings.Cut(v, "=")
		if !slices.ContainsFunc(c.Env, func(e string) bool { return e == name || strings.HasPrefix(e, name+"=") }) {
			p.Env = append(p.Env, v)
		}
	}
	return p
}

// noVariable says whether an entry of an environment is what no program can be
// given. runc refuses all of these, crun passes on what it can. An image that only
// names a variable wants it unset, as in Docker.
func noVariable(e string) bool {
	return strings.IndexByte(e, '=') <= 0 || strings.IndexByte(e, 0) >= 0
}

// capabilities are Docker's, under which images are made and tried: package
// managers that chown, servers that give up root. Like Docker, and like execve,
// nobody but root has them in effect, and none is inheritable (CVE-2022-24769).
func capabilities(u specs.User) *specs.LinuxCapabilities {
	list := []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
	if u.UID != 0 {
		return &specs.LinuxCapabilities{Bounding: list}
	}
	return &specs.LinuxCapabilities{Bounding: list, Effective: list, Permitted: list}
}

// annotations are what conversion.md wants kept, labels before all else, but for
// those that are left.
func annotations(c Image) (all map[string]string, left []string) {
	all = map[string]string{
		implicit + "os": c.OS, implicit + "architecture": c.Architecture, implicit + "variant": c.Variant,
		implicit + "os.version": c.OSVersion, implicit + "os.features": strings.Join(c.OSFeatures, ","),
		implicit + "author": c.Author, implicit + "created": c.Created, implicit + "stopSignal": c.Config.StopSignal,
		implicit + "exposedPorts": keys(c.Config.ExposedPorts), volumesKey: keys(c.Config.Volumes),
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	for _, k := range slices.Sorted(maps.Keys(c.Config.Labels)) {
		switch {
		case k == "": // runtime-spec: keys MUST NOT be empty
		case slices.ContainsFunc(steering, func(prefix string) bool { return strings.HasPrefix(k, prefix) }):
			left = append(left, k)
		default:
			all[k] = c.Config.Labels[k]
		}
	}
	return all, left
}

// steering begins annotations that are orders to a runtime: of crun, of runc
// (properties of the systemd unit), of both (how CRIU works, WebAssembly), of Kata,
// of gVisor. A label is a stranger's
// word and gives no orders.
var steering = []string{"run.oci.", "org.systemd.property.", "org.criu.", "module.wasm.", "io.katacontainers.", "dev.gvisor.", "io.kubernetes.cri"}

// keys are comma-separated, as conversion.md has ports.
func keys(m map[string]struct{}) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ",")
}
