package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// childEnv has the test program load a store until it is killed: its directory.
const childEnv = "OCCYSTRAP_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := load(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stdout, "error", err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// childSpaces are those that the child loads.
func childSpaces(s *store.Store) map[string]registry.Backend {
	return map[string]registry.Backend{
		"push": s.Space("push", store.SpaceOptions{}).Backend(), "mirror": s.Space("mirror", store.SpaceOptions{Volatile: true}).Backend(),
	}
}

// load pushes, deletes and collects without an end, and says before and after each
// change of a tag what it becomes.
func load(ctx context.Context, dir string) error {
	s, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(words ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(os.Stdout, words...)
	}
	var g errgroup.Group
	for space, b := range childSpaces(s) {
		for worker := range 2 {
			g.Go(func() error { return loadOne(ctx, b, space, fmt.Sprint("app", worker), say) })
		}
	}
	g.Go(func() error {
		for {
			if _, err := s.Collect(ctx); err != nil {
				return err
			}
			if err := s.Snapshot(); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

func loadOne(ctx context.Context, b registry.Backend, space, repository string, say func(...any)) error {
	for i := 0; ; i++ {
		tag := fmt.Sprint("t", rand.IntN(6))
		ref := space + " " + repository + " " + tag
		if desc, err := b.Manifests.Stat(ctx, repository, registry.Ref{Tag: tag}); err == nil && rand.IntN(3) == 0 {
			say("try", ref, "-")
			if rand.IntN(2) == 0 {
				err = b.Tags.Delete(ctx, repository, tag)
			} else {
				err = b.Manifests.Delete(ctx, repository, desc.Digest)
			}
			if err != nil {
				return err
			}
			say("done", ref, "-")
			continue
		}
		name := fmt.Sprint(space, repository, os.Getpid(), " ", i)
		say("try", ref, "?")
		desc, err := push(ctx, b, repository, name, nil, []string{tag}, layer("shared"), layer(fmt.Sprint("layer", rand.IntN(8))), []byte(name))
		if err != nil {
			return err
		}
		say("done", ref, desc.Digest)
	}
}

// On a machine that is busy, a few kills are enough after this time.
const (
	fewKills = 10
	enough   = 40 * time.Second
)

// A store whose process is killed at any moment has all that was answered for when it is
// opened again, and nothing that is broken.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	kills := 40
	if testing.Short() {
		kills = 4
	}
	dir := t.TempDir()
	known := map[string]string{}
	began := time.Now()
	for n := range kills {
		if n >= fewKills && time.Since(began) > enough {
			t.Logf("killed %d times; the machine is busy", n)
			return
		}
		kill(t, dir, 1+rand.IntN(30), known)
		check(t, dir, known)
		if t.Failed() {
			return
		}
	}
}

// kill has a child load the store, and kills it after it has said so many lines. known
// is what each tag leads to: a digest, "-" for nothing, "?" for not known.
func kill(t *testing.T, dir string, lines int, known map[string]string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		words := strings.Fields(in.Text()) // what it said before it died counts
		if len(words) != 5 {
			if len(words) > 0 && words[0] == "error" {
				t.Errorf("the child: %s", in.Text())
			}
			continue
		}
		key, what := strings.Join(words[1:4], " "), words[4]
		if words[0] == "try" {
			known[key] = "?"
		} else {
			known[key] = what
		}
	}
	_ = cmd.Wait() // it was killed
}

// check opens the store and compares it with what is known.
func check(t *testing.T, dir string, known map[string]string) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	backends := childSpaces(s)
	for key, want := range known {
		words := strings.Fields(key)
		desc, err := backends[words[0]].Manifests.Stat(t.Context(), words[1], registry.Ref{Tag: words[2]})
		switch {
		case err == nil:
			if err := whole(t.Context(), backends[words[0]], words[1], registry.Ref{Tag: words[2]}); err != nil {
				t.Error(err)
			}
			if want != "?" && want != desc.Digest.String() {
				t.Errorf("%s is %s, and was to be %s", key, desc.Digest, want)
			}
		case want != "?" && want != "-":
			t.Errorf("%s was lost: %v", key, err)
		}
	}
	clean(t, s)
}
