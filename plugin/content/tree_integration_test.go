//go:build integration && linux

package content_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/content"
)

// when is the time of every entry.
var when = time.Unix(1700000000, 123456789)

// layer packs entries; a body is among the records.
func layer(t testing.TB, entries ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		body := h.PAXRecords["body"]
		delete(h.PAXRecords, "body")
		h.Size, h.ModTime, h.Format = int64(len(body)), when, tar.FormatPAX
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(body))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func regular(name, body string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, PAXRecords: map[string]string{"body": body}}
}

func directory(name string, mode int64, uid int) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode, Uid: uid, Gid: uid}
}

func special(kind byte, name, link string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o620, Uid: 7, Gid: 8, Devmajor: 1, Devminor: 3}
}

func hard(name, to string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o640}
}

func with(h *tar.Header, attribute, value string) *tar.Header {
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	h.PAXRecords["SCHILY.xattr."+attribute] = value
	return h
}

// everything is layers with all that a layer can have, and a file in each by which no
// other test has it: some delete blobs.
func everything(t testing.TB) [][]byte {
	setuid := regular("usr/bin/su", "su")
	setuid.Mode, setuid.Uid, setuid.Gid = 0o4755, 3, 4
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	return [][]byte{
		layer(t,
			directory("./", 0o700, 9),
			directory("tmp", 0o1777, 0), directory("etc/", 0o755, 0), directory("usr", 0o711, 5), directory("usr/lib", 0o2750, 6),
			directory("usr/bin", 0o755, 0), directory("gone", 0o755, 0), directory("full", 0o755, 0), directory("swap", 0o755, 0),
			with(directory("noted", 0o755, 11), "user.note", "lower"),
			regular("unique", rand.Text()), regular("etc/a", "a"), regular("etc/b", "b"), regular("gone/x", "x"), regular("full/x", "x"), regular("full/y", "y"),
			regular("swap/x", "x"), regular("file", "f"), regular("big", strings.Repeat("0123456789abcdef", 1<<17)), setuid, regular("empty", ""),
			with(regular("usr/bin/ping", "ping"), "security.capability", capability), with(regular("user", "u"), "user.note", "hello"),
			with(regular("trusted", "u"), "trusted.overlay.opaque", "y"),
			special(tar.TypeSymlink, "link", "usr/lib"), special(tar.TypeSymlink, "dangling", "/nowhere"), hard("hard", "big"), hard("etc/hard", "./etc/a"),
			special(tar.TypeChar, "null", ""), special(tar.TypeBlock, "block", ""), special(tar.TypeFifo, "fifo", ""),
			regular("etc/.wh.nothing", ""), regular("link/through", "through a link"),
		),
		layer(t,
			regular("unique1", rand.Text()), regular("tmp/in", "its directory has no entry here"), regular("usr/lib/deep/er/in", "nor these"), regular("noted/in", "nor this"), regular("new/in", "nor has it any"),
			directory("etc", 0o755, 0), regular("etc/.wh.a", ""), regular(".wh.gone", ""),
			directory("full", 0o700, 1), regular("full/.wh..wh..opq", ""), regular("full/z", "z"),
			regular(".wh..wh..opq", ""),
			regular("swap", "a file now"), special(tar.TypeSymlink, "file", "etc"),
		),
		layer(t,
			regular("unique2", rand.Text()), regular("usr/lib/deep/er/more", "lower, the directory has none either"), directory("swap", 0o755, 0), regular("swap/again", "a directory again"),
			regular("full/.wh.z", ""), regular("usr/.wh.bin", ""), regular("etc/a", "again"), regular("tmp/in", "changed"),
		),
	}
}

// tree describes all that is in a directory. Times of what has no entry are those
// of the unpacking.
func tree(t testing.TB, dir string, implied func(name string) bool) map[string]string {
	t.Helper()
	out, names := map[string]string{}, map[uint64][]string{}
	must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p, dir), "/")
		var st unix.Stat_t
		must(t, unix.Lstat(p, &st))
		says := fmt.Sprintf("mode %o, of %d:%d, attributes %q", st.Mode, st.Uid, st.Gid, attributes(t, p))
		whiteout := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
		if name != "" && !whiteout && !implied(name) {
			says += fmt.Sprintf(", of %d.%d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			raw, err := os.ReadFile(p)
			must(t, err)
			says += fmt.Sprintf(", %d bytes %x", len(raw), sha256.Sum256(raw))
			names[st.Ino] = append(names[st.Ino], name)
		case unix.S_IFLNK:
			to, err := os.Readlink(p)
			must(t, err)
			says += " to " + to
		case unix.S_IFCHR, unix.S_IFBLK:
			says += fmt.Sprintf(", device %x", st.Rdev)
		}
		out[name] = says
		return nil
	}))
	for _, same := range names {
		slices.Sort(same)
		for _, n := range same {
			out[n] += fmt.Sprintf(", names %q", same)
		}
	}
	return out
}

func attributes(t testing.TB, path string) map[string]string {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	must(t, err)
	out := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 1<<16)
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		must(t, err)
		out[name] = string(value[:n])
	}
	return out
}

// layersIn are the directories of an image's layers in the default snapshotter, the
// topmost first.
func (r *real) layersIn(ctx context.Context, t testing.TB, name string) []string {
	t.Helper()
	i, err := r.GetImage(ctx, name)
	must(t, err)
	ids, err := i.RootFS(ctx)
	must(t, err)
	sn, key := r.SnapshotService(""), "occystrap-test-"+rand.Text()
	mounts, err := sn.View(ctx, key, chainOf(ids), snapshots.WithLabels(map[string]string{"containerd.io/gc.root": when.Format(time.RFC3339)}))
	must(t, err)
	t.Cleanup(func() { must(t, sn.Remove(ctx, key)) })
	for _, o := range mounts[0].Options {
		if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
			return strings.Split(dirs, ":")
		}
	}
	return []string{mounts[0].Source}
}

// in is another namespace, in which name is removed when the test ends.
func (r *real) in(t testing.TB, space, name string) context.Context {
	t.Helper()
	ctx := namespaces.WithNamespace(r.ctx, space)
	t.Cleanup(func() {
		if err := r.ImageService().Delete(ctx, name, images.SynchronousDelete()); err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
	return ctx
}

// What we unpack is what containerd unpacks, layer by layer: names, modes, owners,
// times, attributes, devices, links and marks.
func TestLayersAreUnpackedAsByContainerd(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]func(context.Context, pipeline.Sink) error{
		"here":                    func(context.Context, pipeline.Sink) error { return nil },
		"by containerd, in parts": content.ByContainerd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := meet(t), pipelinetest.NewStore()
			plain := everything(t)
			desc := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: plain})
			sink, err := schemes(content.Config{Events: details(t)}).Sink(r.uri(r.name))
			must(t, err)
			must(t, by(t.Context(), sink))
			must(t, run(t, s.Source(desc, r.name), sink))
			r.compare(t, s.Source(desc, r.name), plain)
		})
	}
}

// compare looks at what an image was unpacked to, and at what containerd unpacks it
// to in another namespace.
func (r *real) compare(t *testing.T, src pipeline.Source, plain [][]byte) {
	t.Helper()
	const peer = namespace + "-peer"
	ctx := r.in(t, peer, r.name)
	must(t, r.put(t, src, "containerd://"+r.name+"?unpack=false&namespace="+peer+"&address="+r.address))
	i, err := r.ImageService().Get(ctx, r.name)
	must(t, err)
	must(t, client.NewImageWithPlatform(r.Client, i, platforms.Default()).Unpack(ctx, ""))
	ours, theirs := r.layersIn(r.ctx, t, r.name), r.layersIn(ctx, t, r.name)
	if len(ours) != len(plain) || len(theirs) != len(plain) {
		t.Fatalf("there are %d and %d layers, want %d", len(ours), len(theirs), len(plain))
	}
	for n := range plain {
		at := len(plain) - 1 - n
		implied := impliedIn(t, plain[n])
		got, want := tree(t, ours[at], implied), tree(t, theirs[at], implied)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("layer %d (-containerd +occystrap):\n%s", n, diff)
		}
	}
}

// impliedIn says of what a layer has no entry.
func impliedIn(t testing.TB, plain []byte) func(string) bool {
	t.Helper()
	has := map[string]bool{}
	r := tar.NewReader(bytes.NewReader(plain))
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		has[filepath.Clean(h.Name)] = true
	}
	return func(name string) bool { return !has[name] }
}

// Snapshots and blobs have the labels that containerd's own unpacker gives them.
func TestLabelsAreThoseOfContainerd(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: everything(t)})
	must(t, r.put(t, s.Source(desc, r.name), r.uri(r.name)))
	i, err := r.GetImage(r.ctx, r.name)
	must(t, err)
	ids, err := i.RootFS(r.ctx)
	must(t, err)
	config, err := i.Config(r.ctx)
	must(t, err)
	info, err := r.ContentStore().Info(r.ctx, config.Digest)
	must(t, err)
	if got := info.Labels["containerd.io/gc.ref.snapshot.overlayfs"]; got != chainOf(ids) {
		t.Errorf("the config keeps snapshot %q, want %s", got, chainOf(ids))
	}
	m, err := images.Manifest(r.ctx, r.ContentStore(), i.Target(), platforms.Default())
	must(t, err)
	for n, l := range m.Layers {
		info, err := r.ContentStore().Info(r.ctx, l.Digest)
		must(t, err)
		if got := info.Labels["containerd.io/uncompressed"]; got != ids[n].String() {
			t.Errorf("layer %d unpacks to %q, want %s", n, got, ids[n])
		}
		snapshot, err := r.SnapshotService("").Stat(r.ctx, chainOf(ids[:n+1]))
		must(t, err)
		want := map[string]string{"containerd.io/snapshot.ref": chainOf(ids[:n+1]), "containerd.io/snapshot/diff-id": ids[n].String()}
		if n > 0 {
			want["containerd.io/snapshot/parent-chain-id"] = chainOf(ids[:n])
		}
		for key := range maps.Keys(want) {
			if snapshot.Labels[key] != want[key] {
				t.Errorf("snapshot %d has %s=%q, want %q", n, key, snapshot.Labels[key], want[key])
			}
		}
		if n > 0 && snapshot.Parent != chainOf(ids[:n]) {
			t.Errorf("snapshot %d is upon %s", n, snapshot.Parent)
		}
	}
}
