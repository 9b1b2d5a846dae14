package check

import (
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Report is what Run found.
type Report struct {
	Fast   bool
	Images []*Image
	// Manifests are all that were read, children before parents.
	Manifests []pipeline.Manifest
	Results   []Result
}

// Count says how many results have a severity.
func (r *Report) Count(s Severity) (n int) {
	for _, res := range r.Results {
		if res.Severity == s {
			n++
		}
	}
	return n
}

// An Image is one image that was checked.
type Image struct {
	Names    []string
	Manifest ocispec.Descriptor
	// Size is that of config and layers as stored.
	Size int64
	// Waste is known where the layers were read.
	Waste *Waste
}

// A Result is what one check says.
type Result struct {
	Severity Severity
	Check    string
	// Message is one line; what strangers named is quoted in it.
	Message string
	// Image is what the result is about; nil for all or none of them.
	Image *Image
	// Layer is the digest of the layer that it is about; "" for none.
	Layer digest.Digest
	// Path is the file it is about, as the tar spells it; "" for none.
	Path string
}

// listed is how many files a check names in one image; the rest are counted.
const listed = 10

// teller collects results.
type teller struct {
	mu      sync.Mutex
	report  *Report
	image   *Image
	perFile map[string]int
}

func (t *teller) add(r Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Image == nil {
		r.Image = t.image
	}
	t.report.Results = append(t.report.Results, r)
}

// bad tells that something is not as it should be.
func (t *teller) bad(id, format string, args ...any) {
	t.add(Result{Severity: severityOf[id], Check: id, Message: fmt.Sprintf(format, args...)})
}

// good tells that a check has passed.
func (t *teller) good(id, format string, args ...any) {
	t.add(Result{Severity: Info, Check: id, Message: fmt.Sprintf(format, args...)})
}

// verdict tells either.
func (t *teller) verdict(ok bool, id, format string, args ...any) {
	if ok {
		t.good(id, format, args...)
		return
	}
	t.bad(id, format, args...)
}

// file tells of a file, as far as there is room.
func (t *teller) file(f finding, layer digest.Digest) {
	if t.perFile[f.check]++; t.perFile[f.check] > listed {
		return
	}
	t.add(Result{Severity: f.severity, Check: f.check, Message: f.message, Layer: layer, Path: f.path})
}

// endFiles tells how many files there was no room for.
func (t *teller) endFiles() {
	for _, c := range Checks {
		if n := t.perFile[c.ID]; n > listed {
			t.bad(c.ID, "%d in all; %d of them are named", n, listed)
		}
	}
}

// A finding is what is wrong with a file.
type finding struct {
	check    string
	severity Severity
	path     string
	message  string
}

// findings are those of one layer, as many as can be told.
type findings struct {
	list  []finding
	count map[string]int
}

func (f *findings) add(id string, severity Severity, path, message string) {
	if f.count == nil {
		f.count = map[string]int{}
	}
	if f.count[id]++; f.count[id] <= listed {
		f.list = append(f.list, finding{id, severity, path, message})
	}
}

// tellAll tells what was found in a layer, and counts the rest.
func (f *findings) tellAll(t *teller, n int, layer digest.Digest) {
	for _, found := range f.list {
		found.message = layerName(n, layer) + ": " + found.message
		t.file(found, layer)
	}
	for id, n := range f.count {
		t.perFile[id] += max(0, n-listed)
	}
}
