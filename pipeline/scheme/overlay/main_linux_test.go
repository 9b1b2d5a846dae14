package overlay_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside says in which namespace this process is, as a word.
const inside = "OCCYSTRAP_TEST_NAMESPACE"

// TestMain runs all tests in a mount namespace of their own: nothing that they
// mount is seen elsewhere, and all of it ends with them. Who is not root gets a
// user namespace too.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil && os.Getenv(inside) != "user only" {
			fmt.Fprintln(os.Stderr, "make mounts private:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	flags, word := uintptr(syscall.CLONE_NEWNS), "mount"
	if os.Geteuid() != 0 {
		flags, word = flags|syscall.CLONE_NEWUSER, "user"
	}
	err := again(flags, word, os.Args[1:]...)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		os.Exit(failed.ExitCode())
	case err != nil: // the tests say what they lack
		os.Exit(m.Run())
	}
}

// again runs this program in new namespaces.
func again(flags uintptr, word string, args ...string) error {
	runtime.LockOSThread() // for Pdeathsig, which is about the thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+word)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd.Run()
}

// needMounts skips a test where this user may have no namespace; with CI=true it
// fails.
func needMounts(t testing.TB) {
	t.Helper()
	if os.Getenv(inside) != "" {
		return
	}
	const reason = "neither root nor allowed to make a user namespace: nothing can be mounted"
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// Root in a user namespace may mount too; overlayfs keeps its marks elsewhere
// then, and owners that are not there are left out.
func TestMountsInAUserNamespace(t *testing.T) {
	needMounts(t)
	if os.Getenv(inside) != "mount" {
		t.Skip("it is one")
	}
	err := again(syscall.CLONE_NEWNS|syscall.CLONE_NEWUSER, "user", "-test.run=^(TestMounted|TestOpaque|TestWhiteout|TestUnmount)/^by_file")
	if err != nil {
		t.Error(err)
	}
}
