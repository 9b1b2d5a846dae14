package daemon_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// A stubLane is one that fits where such lanes do, and moves nothing.
type stubLane struct {
	name  string
	fits  func(p *daemon.Place) error
	fails error // what opening it says
}

func (l stubLane) Name() string { return l.name }

func (l stubLane) Fits(_ context.Context, _ pipeline.Side, p *daemon.Place) (string, error) {
	return "as a test wants it", l.fits(p)
}

func (l stubLane) Source(daemon.Target) pipeline.Source { return stubEnd{err: l.fails} }
func (l stubLane) Sink(daemon.Target) pipeline.Sink     { return stubEnd{err: l.fails} }

// A stubEnd is an empty source, graph and sink.
type stubEnd struct {
	pipeline.Sink
	err error
}

func (e stubEnd) Open(context.Context, pipeline.Query) (pipeline.Graph, error) {
	if e.err != nil {
		return nil, e.err
	}
	return stubGraph{}, nil
}

func (e stubEnd) Capacity(context.Context) (pipeline.Capacity, error) {
	return pipeline.Capacity{}, e.err
}
func (e stubEnd) Close() error { return nil }

type stubGraph struct{}

func (stubGraph) Layers(context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(func(pipeline.Layer, error) bool) {}
}

func (stubGraph) Manifests(context.Context) iter.Seq2[pipeline.Manifest, error] {
	return func(func(pipeline.Manifest, error) bool) {}
}
func (stubGraph) Close() error    { return nil }
func (stubGraph) PeakDisk() int64 { return 42 }

// stubLanes need what the lanes of plugin/ need.
func stubLanes() []daemon.Lane {
	files := func(store daemon.Store) func(p *daemon.Place) error {
		return func(p *daemon.Place) error {
			if p.Store != store {
				return errors.New("the store is another: " + string(p.Store))
			}
			return p.FilesHere()
		}
	}
	loopback := func(p *daemon.Place) error {
		if p.Forward != nil {
			return nil
		}
		return p.LoopbackHere()
	}
	return []daemon.Lane{
		stubLane{name: daemon.LaneContent, fits: files(daemon.StoreContainerd)},
		stubLane{name: daemon.LaneLayers, fits: files(daemon.StoreGraph)},
		stubLane{name: daemon.LanePush, fits: loopback},
		stubLane{name: daemon.LanePull, fits: loopback},
	}
}

// far makes a daemon one that is reached by ssh.
func far(f *fake, forward bool) daemon.Config {
	cfg := daemon.Config{
		Client: func(context.Context) (client.APIClient, error) { return client.New(client.WithHost(f.host)) },
		Host:   func() string { return "ssh://jo@far.example" },
	}
	if forward {
		cfg.Forward = func(context.Context, string, string) (string, func() error, error) {
			return "127.0.0.1:1", func() error { return nil }, nil
		}
	}
	return cfg
}

// TestTableOfLanes: each daemon gets the fastest lane that works there, on both
// sides; those before it are named with the reason.
func TestTableOfLanes(t *testing.T) {
	t.Parallel()
	containerd := func() *fake { return &fake{api: "1.51", indexes: true} }
	graph := func() *fake { return &fake{api: "1.51"} }
	vm := func() *fake { return &fake{api: "1.51", indexes: true, kernel: "1.2.3-vm"} }
	podman := func() *fake { return &fake{podman: true} }
	for _, tc := range []struct {
		name    string
		engine  *fake
		how     string // unix, tcp, ssh, ssh with a forward
		out, in string
		reason  string // in why the first of the passed was passed
	}{
		{"containerd store", containerd(), "unix", "content", "content", ""},
		{"graph driver", graph(), "unix", "layers", "load", ""},
		{"Podman", podman(), "unix", "save", "load", ""},
		{"containerd store by TCP", containerd(), "tcp", "save", "load", "another machine"},
		{"graph driver by TCP", graph(), "tcp", "save", "load", "another machine"},
		{"containerd store by ssh", containerd(), "ssh", "save", "load", "ssh://jo@far.example is another machine"},
		{"containerd store by ssh with a forward", containerd(), "ssh forward", "push", "pull", "another machine"},
		{"graph driver by ssh with a forward", graph(), "ssh forward", "save", "load", "another machine"},
		{"Podman by ssh with a forward", podman(), "ssh forward", "save", "load", ""},
		{"containerd store in a VM", vm(), "unix", "save", "load", "VM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var cfg daemon.Config
			uri := "docker://app"
			i := newImage(t, "amd64", newLayer(t, "a", false))
			switch tc.how {
			case "unix":
				uri = start(t, tc.engine).uri("app")
			case "tcp":
				uri = startTCP(t, tc.engine).uri("app")
			default:
				cfg = far(start(t, tc.engine), tc.how == "ssh forward")
			}
			tc.engine.holds(t, i, "app:latest", savedContainerd(t, i, "app:latest"))
			cfg.Lanes = stubLanes()
			for side, want := range map[pipeline.Side]string{pipeline.SourceSide: tc.out, pipeline.SinkSide: tc.in} {
				got, err := laneOf(t, cfg, uri, side)
				must(t, err)
				if got.Lane != want || got.Side != side {
					t.Errorf("%s: lane %s, want %s; passed %v", side, got.Lane, want, got.Passed)
				}
				if len(got.Passed) > 0 && !strings.Contains(got.Passed[0].Why, tc.reason) {
					t.Errorf("%s: %q does not say %q", side, got.Passed[0].Why, tc.reason)
				}
			}
		})
	}
}

// laneOf is the lane that an end takes; what it reports and what it tells are the
// same.
func laneOf(t *testing.T, cfg daemon.Config, uri string, side pipeline.Side) (pipeline.LaneReport, error) {
	t.Helper()
	var told []pipeline.LaneReport
	cfg.TempDir = t.TempDir()
	cfg.Events = func(e pipeline.Event) {
		if e.Kind == pipeline.EventLane {
			told = append(told, *e.Lane)
		}
	}
	laned, err := openEnd(t, cfg, uri, side)
	if err != nil {
		if _, chosen := laned.Lane(); chosen || len(told) > 0 {
			t.Errorf("after an error a lane is told: %v", told)
		}
		return pipeline.LaneReport{}, err
	}
	got, ok := laned.Lane()
	got.Disk = 0 // known at the end only
	if diff := cmp.Diff([]pipeline.LaneReport{got}, told); !ok || diff != "" {
		t.Errorf("chosen %t; (-report +event):\n%s", ok, diff)
	}
	return got, nil
}

// openEnd opens one end, as Run does first, and closes it again.
func openEnd(t *testing.T, cfg daemon.Config, uri string, side pipeline.Side) (pipeline.Laned, error) {
	t.Helper()
	if side == pipeline.SourceSide {
		src, err := schemes(cfg).Source(uri)
		must(t, err)
		g, err := src.Open(t.Context(), pipeline.Query{})
		if err == nil {
			must(t, g.Close())
		}
		return src.(pipeline.Laned), err
	}
	sink, err := schemes(cfg).Sink(uri)
	must(t, err)
	_, err = sink.(pipeline.Deferred).Chosen(t.Context())
	must(t, sink.Close())
	return sink.(pipeline.Laned), err
}

// TestForcedLaneThatCannotWork fails with the reason, and takes no other.
func TestForcedLaneThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, lane string
		side       pipeline.Side
		engine     *fake
		tcp        bool
		want       string
	}{
		{"content of a graph driver", "content", pipeline.SourceSide, &fake{}, false, "the store is another: graph driver"},
		{"content into a graph driver", "content", pipeline.SinkSide, &fake{}, false, "the store is another: graph driver"},
		{"content of Podman", "content", pipeline.SourceSide, &fake{podman: true}, false, "the store is another: Podman"},
		{"layers of the containerd store", "layers", pipeline.SourceSide, &fake{indexes: true}, false, "the store is another: containerd"},
		{"content by TCP", "content", pipeline.SourceSide, &fake{indexes: true}, true, "its files are not here"},
		{"layers by TCP", "layers", pipeline.SourceSide, &fake{}, true, "its files are not here"},
		{"push by TCP", "push", pipeline.SourceSide, &fake{}, true, "does not reach our 127.0.0.1"},
		{"pull by TCP", "pull", pipeline.SinkSide, &fake{indexes: true}, true, "does not reach our 127.0.0.1"},
		{"push in a VM", "push", pipeline.SourceSide, &fake{kernel: "1.2.3-vm"}, false, "runs in a VM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			begin := start
			if tc.tcp {
				begin = startTCP
			}
			f := begin(t, tc.engine)
			_, err := laneOf(t, daemon.Config{Lanes: stubLanes()}, f.uri("app")+"&lane="+tc.lane, tc.side)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "lane "+tc.lane) {
				t.Errorf("error %v; want %q in it", err, tc.want)
			}
			if slices.ContainsFunc(f.seen(), func(s string) bool { return strings.Contains(s, "/images/") }) {
				t.Errorf("the daemon was asked %v", f.seen())
			}
		})
	}
}

// TestForcedLaneIsTold: a lane that was asked for is taken though it is not the
// first, and the report says so.
func TestForcedLaneIsTold(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", false))
	f := start(t, &fake{indexes: true}).holds(t, i, "app:latest", savedContainerd(t, i, "app:latest"))
	got, err := laneOf(t, daemon.Config{Lanes: stubLanes()}, f.uri("app")+"&lane=save", pipeline.SourceSide)
	must(t, err)
	if got.Lane != "save" || !got.Forced || len(got.Passed) > 0 {
		t.Errorf("got %+v", got)
	}
}

// TestNextLaneAfterOneThatDoesNotWork: a lane that turns out not to work hands on,
// and is named; any other error ends the run.
func TestNextLaneAfterOneThatDoesNotWork(t *testing.T) {
	t.Parallel()
	always := func(*daemon.Place) error { return nil }
	for _, side := range []pipeline.Side{pipeline.SourceSide, pipeline.SinkSide} {
		t.Run(string(side), func(t *testing.T) {
			t.Parallel()
			i := newImage(t, "amd64", newLayer(t, "a", false))
			f := start(t, &fake{indexes: true}).holds(t, i, "app:latest", savedContainerd(t, i, "app:latest"))
			cfg := daemon.Config{Lanes: []daemon.Lane{stubLane{"content", always, daemon.Unfit(errors.New("no luck"))}}}
			got, err := laneOf(t, cfg, f.uri("app"), side)
			must(t, err)
			if diff := cmp.Diff([]pipeline.PassedLane{{Lane: "content", Why: "no luck"}}, got.Passed[:min(1, len(got.Passed))]); diff != "" || got.Lane == "content" {
				t.Errorf("lane %s, passed (-want +got):\n%s", got.Lane, diff)
			}
			_, err = laneOf(t, cfg, f.uri("app")+"&lane=content", side)
			if err == nil || !strings.Contains(err.Error(), "no luck") {
				t.Errorf("forced: %v", err)
			}
			cfg.Lanes = []daemon.Lane{stubLane{"content", always, io.ErrUnexpectedEOF}}
			if _, err = laneOf(t, cfg, f.uri("app"), side); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("an error of another kind became %v", err)
			}
		})
	}
}

// TestRunReportsLanes: what Run returns names the lanes of both ends, with the most
// that their temporary files held.
func TestRunReportsLanes(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", true), newLayer(t, "b", true))
	from := start(t, &fake{api: "1.51", indexes: true}).holds(t, i, "app:latest", savedContainerd(t, i, "app:latest"))
	to := start(t, &fake{api: "1.51"})
	s := schemes(daemon.Config{TempDir: t.TempDir()})
	src, err := s.Source(from.uri("app"))
	must(t, err)
	dst, err := s.Sink(to.uri("app"))
	must(t, err)
	report, err := pipeline.Run(t.Context(), src, nil, dst, pipeline.Options{})
	must(t, err)
	if len(report.Lanes) != 2 || report.Lanes[0].Lane != "save" || report.Lanes[1].Lane != "load" || report.Lanes[0].Place != from.host || report.Lanes[1].Place != to.host {
		t.Errorf("lanes are %+v", report.Lanes)
	}
	end := stubLane{name: "content", fits: func(*daemon.Place) error { return nil }}
	laned, err := openEnd(t, daemon.Config{Lanes: []daemon.Lane{end}}, from.uri("app"), pipeline.SourceSide)
	must(t, err)
	if l, _ := laned.Lane(); l.Disk != 42 {
		t.Errorf("the graph held 42 bytes on disk, the report says %d", l.Disk)
	}
}

// TestDaemonThatSaysNoStore: a daemon that does not answer /info can still be
// saved from; nothing is loaded into it.
func TestDaemonThatSaysNoStore(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", false))
	f := start(t, &fake{noInfo: true}).holds(t, i, "app:latest", saved24(t, i, "app:latest"))
	pull(t, f.uri("app"), daemon.Config{Lanes: stubLanes()}, pipeline.Query{})
	_, err := laneOf(t, daemon.Config{}, f.uri("app"), pipeline.SinkSide)
	if err == nil || !strings.Contains(err.Error(), "ask for its store") {
		t.Errorf("the load says %v", err)
	}
}

// TestMeetFindsTheProcess: of a local daemon it is known which process it is, by
// who listens at its socket.
func TestMeetFindsTheProcess(t *testing.T) {
	t.Parallel()
	f := start(t, &fake{api: "1.51", indexes: true})
	cli, err := client.New(client.WithHost(f.host))
	must(t, err)
	p, err := daemon.Meet(t.Context(), cli, "")
	must(t, err)
	must(t, cli.Close())
	if p.Process != os.Getpid() || p.Host != f.host || p.Store != daemon.StoreContainerd || p.FilesHere() != nil || p.LoopbackHere() != nil {
		t.Errorf("met %+v; want process %d at %s", p, os.Getpid(), f.host)
	}
}

// TestOnlyTheConfigIsWanted: then no lane that moves the image is taken.
func TestOnlyTheConfigIsWanted(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", true))
	f := start(t, &fake{api: "1.51", indexes: true}).holds(t, i, "app:latest", savedContainerd(t, i, "app:latest"))
	got := pull(t, f.uri("app"), daemon.Config{}, pipeline.Query{Brief: true})
	if len(got.manifests) != 1 || len(got.layers) != 0 {
		t.Errorf("got %d manifests and %d layers", len(got.manifests), len(got.layers))
	}
	onlyAsked(t, f)
}

// onlyAsked: the daemon was told to do nothing.
func onlyAsked(t *testing.T, f *fake) {
	t.Helper()
	for _, r := range f.seen() {
		if strings.HasPrefix(r, "POST ") || strings.HasPrefix(r, "DELETE ") || strings.Contains(r, "/images/get") {
			t.Errorf("the daemon was asked to %s", r)
		}
	}
}

// TestForecastAsksTheDaemonOnly: where no lane can list the layers, the daemon's
// word is taken; of the containerd store it tells no digests, and the forecast
// says so.
func TestForecastAsksTheDaemonOnly(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]*fake{"graph driver": {api: "1.51"}, "containerd store": {api: "1.51", indexes: true}, "Podman": {podman: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImage(t, "amd64", newLayer(t, "a", true), newLayer(t, "b", true))
			f := start(t, engine).holds(t, i, "app:latest", savedContainerd(t, i, "app:latest"))
			s := schemes(daemon.Config{TempDir: t.TempDir()})
			src, err := s.Source(f.uri("app"))
			must(t, err)
			dst, err := s.Sink(f.uri("copy"))
			must(t, err)
			got, err := pipeline.Foresee(t.Context(), src, nil, dst, pipeline.Options{})
			must(t, err)
			var diffIDs []digest.Digest
			for _, l := range got.Layers {
				diffIDs = append(diffIDs, l.Layer.DiffID)
			}
			if diff := cmp.Diff(i.diffIDs(), diffIDs); diff != "" || !got.Approximate || (got.Vague != "") != engine.indexes || len(got.Lanes) != 2 {
				t.Errorf("%+v; layers (-want +got):\n%s", got, diff)
			}
			onlyAsked(t, f)
		})
	}
}
