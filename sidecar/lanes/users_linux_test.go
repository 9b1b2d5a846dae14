package lanes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/control"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// askEnv makes this test binary a client: "SOCKET IMAGE BLOB".
const askEnv = "OCCYSTRAP_LANES_TEST_ASK"

// TestMain is the client of TestOtherUsers where it is told to be.
func TestMain(m *testing.M) {
	ask := os.Getenv(askEnv)
	if ask == "" {
		os.Exit(m.Run())
	}
	if err := askAs(strings.Fields(ask)); err != nil {
		fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
}

// askAs reads a blob, and then tries to write to it.
func askAs(ask []string) error {
	image, blob := digest.Digest(ask[1]), digest.Digest(ask[2])
	c := control.New(ask[0])
	f, err := c.Blob(context.Background(), "moby", image, blob)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if digest.FromBytes(raw) != blob {
		return fmt.Errorf("what is lent is %q", raw)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.EBADF) {
		return fmt.Errorf("the descriptor can be written: %w", err)
	}
	again := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if _, err := os.OpenFile(again, os.O_RDWR, 0); !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("opened again it can be written: %w", err)
	}
	if _, err := os.ReadDir(again + "/.."); err == nil {
		return errors.New("it leads to its folder")
	}
	fmt.Fprintln(os.Stdout, "lent")
	return errors.Join(f.Close(), c.Close())
}

// The kernel says who asks, whatever the caller does; and what is lent can be
// read, and no more.
func TestOtherUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can start programs of other users")
	}
	const group, named = 54300, 54301
	f := newFake(t)
	target, layer := f.build(t, "moby", "app:1", "app")
	loose := f.blob(t, "moby", []byte(`{"layers":[]}`))
	loose.MediaType = "application/vnd.oci.image.manifest.v1+json"
	f.image(t, "moby", "loose:1", loose)
	must(t, os.Chmod(filepath.Join(f.blobs(), loose.Digest.Encoded()), 0o666))
	socket := serve(t, lanes.Config{
		Containerd: []lanes.Containerd{{Name: "c", Root: f.root, Namespaces: []string{"moby"}}},
		Groups:     []uint32{group}, Users: []uint32{named},
	})
	client := filepath.Join(filepath.Dir(socket), "client")
	self, err := os.Executable()
	must(t, err)
	pipelinetest.CopyProgram(t, self, client)
	for name, tc := range map[string]struct {
		uid, gid uint32
		groups   []uint32
		image    digest.Digest
		want     string
	}{
		"root":                         {0, 0, nil, target.Digest, "lent"},
		"a member":                     {54302, 54302, []uint32{4, group}, target.Digest, "lent"},
		"a member by his first group":  {54302, group, nil, target.Digest, "lent"},
		"a named user":                 {named, named, nil, target.Digest, "lent"},
		"a stranger":                   {54303, 54303, []uint32{4}, target.Digest, "user 54303 may not ask"},
		"a stranger in root's group":   {54303, 0, []uint32{0}, target.Digest, "user 54303 may not ask"},
		"nobody, a member":             {65534, group, []uint32{group}, target.Digest, "user namespace"},
		"a member, of a file for all":  {54302, group, nil, loose.Digest, "lets others write"},
		"a member of very many groups": {54302, 54302, manyGroups(group), target.Digest, "lent"},
	} {
		blob := layer.Digest
		if tc.image == loose.Digest {
			blob = loose.Digest
		}
		cmd := exec.CommandContext(t.Context(), client)
		cmd.Dir, cmd.Env = "/", []string{fmt.Sprintf("%s=%s %s %s", askEnv, socket, tc.image, blob)}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tc.uid, Gid: tc.gid, Groups: tc.groups}}
		out, err := cmd.CombinedOutput()
		if name == "root" && err != nil && strings.Contains(string(out), "can be written") {
			err, out = nil, []byte("lent") // by root it can in any case
		}
		if (err == nil) != (tc.want == "lent") || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// manyGroups are more than are asked for at first.
func manyGroups(last uint32) []uint32 {
	var all []uint32
	for g := range uint32(200) {
		all = append(all, 60_000+g)
	}
	return append(all, last)
}
