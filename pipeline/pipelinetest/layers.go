package pipelinetest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The variables by which benchmarks of real layers are told what to read.
const (
	// LayersVariable lists the files of layers, separated as in $PATH.
	LayersVariable = "OCCYSTRAP_BENCH_LAYERS"
	// ReportVariable names a file that gets the LayerPass of a benchmark as JSON.
	ReportVariable = "OCCYSTRAP_BENCH_REPORT"
)

// A LayerPass is what one pass over a layer, or over all of them, came to.
type LayerPass struct {
	Plain  int64 // bytes of the plain tars
	Stored int64 // bytes of the compressed results; 0 where nothing is made
	// Digests are of the plain results: whoever makes the same pass comes to the
	// same.
	Digests []string
}

// BenchLayers benchmarks a pass over every layer that LayersVariable lists, or
// skips. An iteration is one pass over all of them, reading included. Bytes are
// those of the plain tars. With -test.benchtime=1x the process makes exactly one:
// so contrib/bench measures it as any other program.
func BenchLayers(b *testing.B, name string, pass func(layer *os.File) (LayerPass, error)) {
	b.Run(name, func(b *testing.B) {
		files := filepath.SplitList(os.Getenv(LayersVariable))
		if len(files) == 0 {
			b.Skip(LayersVariable + " lists no layers; contrib/bench sets it")
		}
		var all LayerPass
		for b.Loop() {
			all = LayerPass{}
			for _, f := range files {
				all.add(b, f, pass)
			}
		}
		b.SetBytes(all.Plain)
		b.ReportMetric(float64(all.Stored), "stored-B")
		all.report(b)
	})
}

func (p *LayerPass) add(b *testing.B, file string, pass func(layer *os.File) (LayerPass, error)) {
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	one, err := pass(f)
	if err != nil {
		b.Fatalf("%s: %v", file, err)
	}
	p.Plain += one.Plain
	p.Stored += one.Stored
	p.Digests = append(p.Digests, one.Digests...)
}

func (p *LayerPass) report(b *testing.B) {
	file := os.Getenv(ReportVariable)
	if file == "" {
		return
	}
	raw, err := json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		b.Fatal(err)
	}
}
