package runtimespec

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mounts are those of runc spec.
func mounts() []specs.Mount {
	closed := []string{"nosuid", "noexec", "nodev"}
	with := func(o ...string) []string { return slices.Concat(closed, o) }
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: with("mode=1777", "size=65536k")},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: with()},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: with("ro")},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: with("relatime", "ro")},
	}
}

// volumeMounts give each volume of the image a file system of its own, which
// starts as a copy of what the image has there. Owner and mode of its top are
// said here: of them runc copies the mode alone, and crun neither.
func volumeMounts(c ocispec.ImageConfig, o Options) (out []specs.Mount) {
	for _, v := range slices.Sorted(maps.Keys(c.Volumes)) {
		dir := path.Clean("/" + v)
		if dir == "/" {
			continue
		}
		h := headerOf(o.Stat, dir)
		options := []string{"nosuid", "nodev", "tmpcopyup", fmt.Sprintf("mode=%o", h.Mode)}
		if !o.Rootless { // there, all is the user's, who is root
			options = append(options, fmt.Sprintf("uid=%d", h.Uid), fmt.Sprintf("gid=%d", h.Gid))
		}
		out = append(out, specs.Mount{Destination: dir, Type: "tmpfs", Source: "tmpfs", Options: options})
	}
	return out
}

// headerOf is owner and mode of a directory, as a tar would have them: package
// tar knows where each system keeps them. What is not there Docker makes so.
func headerOf(stat func(string) (fs.FileInfo, error), dir string) *tar.Header {
	if info, err := stat(dir); err == nil && info.IsDir() {
		if h, err := tar.FileInfoHeader(info, ""); err == nil {
			return h
		}
	}
	return &tar.Header{Mode: 0o755}
}

func namespaces(kinds ...specs.LinuxNamespaceType) (out []specs.LinuxNamespace) {
	for _, k := range kinds {
		out = append(out, specs.LinuxNamespace{Type: k})
	}
	return out
}

// maskedPaths are what tells of the host, or reaches it: those of runc spec and
// of Docker.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

// makeRootless does to a spec what runc spec --rootless does: a user namespace
// whose root is the user himself, and nothing that only root may do. Without a
// network of its own, which the user could not connect, it has the host's; a
// sysfs may be mounted by the network's owner only, so it is the host's, too.
func makeRootless(s *specs.Spec, o Options) {
	s.Linux.Namespaces = namespaces(specs.PIDNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.MountNamespace, specs.UserNamespace)
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(max(o.UID, 0)), Size: 1}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(max(o.GID, 0)), Size: 1}}
	s.Linux.Resources = nil
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/sys") })
	for i := range s.Mounts { // there is no such group in the namespace
		s.Mounts[i].Options = slices.DeleteFunc(s.Mounts[i].Options, func(o string) bool { return o == "gid=5" })
	}
	s.Mounts = append(s.Mounts, specs.Mount{
		Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"},
	})
}
