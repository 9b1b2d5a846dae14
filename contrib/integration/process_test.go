//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
)

// process does what the command does: one image from here to there, with or
// without filters, and nothing left in the folder for temporary files.
func process(t testing.TB, from, to string, filtered bool) pipeline.Report {
	t.Helper()
	temp := t.TempDir()
	var cfg builtin.Config
	cfg.Tarball.TempDir, cfg.Daemon.TempDir, cfg.Filter.TempDir = temp, temp, temp
	schemes := builtin.Schemes(cfg)
	src, err := schemes.Source(from)
	must(t, err)
	dst, err := schemes.Sink(to)
	must(t, err)
	var filters []pipeline.Filter
	if filtered {
		for _, spec := range changing {
			f, err := builtin.Filters(cfg).New(spec)
			must(t, err)
			filters = append(filters, f)
		}
	}
	defer changes("process", from, to)()
	report, err := pipeline.Run(t.Context(), src, filters, dst, pipeline.Options{})
	if err != nil {
		t.Fatalf("%s to %s: %v", from, to, err)
	}
	left, err := os.ReadDir(temp)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%d temporary files are left, the first is %s", len(left), left[0].Name())
	}
	return report
}

// eachWay runs a test as it is and with the filters.
func eachWay(t *testing.T, test func(t *testing.T, filtered bool)) {
	t.Helper()
	for name, filtered := range map[string]bool{"unchanged": false, "filtered": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, filtered)
		})
	}
}

func archivePath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "out.tar")
}

// TestRegistryToTar: crane and skopeo accept the archive.
func TestRegistryToTar(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f := layered(t)
		ref, path := push(t, f), archivePath(t)
		process(t, registryURI(ref), "tar://"+path, filtered)
		checkArchive(t, path, expectation{fixture: f, from: registryIdentity(t, ref), filtered: filtered})
	})
}

// TestTarToRegistry: crane and skopeo accept what is in the registry.
func TestTarToRegistry(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f := layered(t)
		path, ref := f.archive(t, "fixture.test/x:1"), repository(t)
		process(t, "tar://"+path, registryURI(ref), filtered)
		checkRegistry(t, ref, expectation{fixture: f, from: archiveIdentity(t, path), filtered: filtered})
	})
}

// TestTarToTar: an archive comes through as it was.
func TestTarToTar(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f := layered(t)
		from, to := f.archive(t, "fixture.test/x:1"), archivePath(t)
		process(t, "tar://"+from, "tar://"+to, filtered)
		checkArchive(t, to, expectation{fixture: f, from: archiveIdentity(t, from), filtered: filtered})
	})
}

// TestRegistryToRegistry: also when it is there already.
func TestRegistryToRegistry(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f := layered(t)
		from, to := push(t, f), repository(t)
		want := expectation{fixture: f, from: registryIdentity(t, from), filtered: filtered}
		process(t, registryURI(from), registryURI(to), filtered)
		checkRegistry(t, to, want)
		process(t, registryURI(from), registryURI(to), filtered)
		checkRegistry(t, to, want)
	})
}

// TestRegistryToDocker: the daemon runs what came from the registry.
func TestRegistryToDocker(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		eachWay(t, func(t *testing.T, filtered bool) {
			for _, f := range []fixture{busybox(t), layered(t)} {
				if filtered && f.name == "busybox" {
					continue // nothing in it to exclude
				}
				ref, name := push(t, f), e.image(t)
				process(t, registryURI(ref), e.uri(t, name), filtered)
				e.check(t, name, expectation{fixture: f, from: registryIdentity(t, ref), filtered: filtered, manifestKept: true})
			}
		})
	})
}

// TestTarToDocker: the daemon runs what came from an archive.
func TestTarToDocker(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		eachWay(t, func(t *testing.T, filtered bool) {
			f := layered(t)
			path, name := f.archive(t, "fixture.test/x:1"), e.image(t)
			process(t, "tar://"+path, e.uri(t, name), filtered)
			e.check(t, name, expectation{fixture: f, from: archiveIdentity(t, path), filtered: filtered, manifestKept: true})
		})
	})
}

// TestDockerToRegistry: what a daemon built is in the registry, and runs when it
// has come back.
func TestDockerToRegistry(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		name := e.build(t)
		eachWay(t, func(t *testing.T, filtered bool) {
			want := expectation{fixture: builtFixture(), from: e.identity(t, name), filtered: filtered}
			if !e.manifests {
				want.from.manifest = "" // plain layers are compressed for a registry
			}
			ref, back := repository(t), e.image(t)
			process(t, e.uri(t, name), registryURI(ref), filtered)
			checkRegistry(t, ref, want)
			want.from.manifest = ""
			process(t, registryURI(ref), e.uri(t, back), false)
			e.check(t, back, want)
		})
	})
}

// TestDockerToTar: what a daemon built is in the archive, and docker load takes
// it.
func TestDockerToTar(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		name := e.build(t)
		eachWay(t, func(t *testing.T, filtered bool) {
			want := expectation{fixture: builtFixture(), from: e.identity(t, name), filtered: filtered}
			if !e.manifests {
				want.from.manifest = "" // its export has no manifest, or one for the occasion
			}
			path, own := archivePath(t), e.image(t)
			e.docker(t, "tag", name, own)
			process(t, e.uri(t, own), "tar://"+path, filtered)
			checkArchive(t, path, want)
			e.docker(t, "load", "-q", "-i", path) // takes the name over
			e.check(t, own, want)
		})
	})
}

// TestDockerToDocker: from every daemon into every daemon.
func TestDockerToDocker(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, from engine) {
		name := from.build(t)
		for _, to := range engines {
			t.Run("to "+to.name, func(t *testing.T) {
				eachWay(t, func(t *testing.T, filtered bool) {
					want := expectation{fixture: builtFixture(), from: from.identity(t, name), filtered: filtered, manifestKept: from.manifests}
					if !from.manifests {
						want.from.manifest = ""
					}
					copied := to.image(t)
					process(t, from.uri(t, name), to.uri(t, copied), filtered)
					to.check(t, copied, want)
				})
			})
		}
	})
}
