package compare_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// model is a file system as a slow reading of the layers makes it: contents by
// path, "/" for a directory.
type model map[string]string

func (m model) remove(path string, itself bool) {
	for p := range m {
		if p == path && itself || strings.HasPrefix(p, path+"/") || path == "" {
			delete(m, p)
		}
	}
}

// apply adds a layer: first what it deletes, then what it has.
func (m model) apply(files []file) {
	for _, f := range files {
		dir, base, nested := strings.Cut(f.Name, "/")
		if !nested {
			dir, base = "", f.Name
		}
		hidden, is := strings.CutPrefix(base, ".wh.")
		switch {
		case base == ".wh..wh..opq":
			m.remove(dir, false)
		case is && dir == "":
			m.remove(hidden, true)
		case is:
			m.remove(dir+"/"+hidden, true)
		}
	}
	for _, f := range files {
		if strings.Contains(f.Name, ".wh.") {
			continue
		}
		path := strings.TrimSuffix(f.Name, "/")
		if dir, _, nested := strings.Cut(path, "/"); nested {
			m[dir] = "/"
		}
		if path != f.Name {
			m[path] = "/"
			continue
		}
		m.remove(path, true)
		m[path] = f.Body
	}
}

func modelOf(layers [][]file) model {
	m := model{}
	for _, l := range layers {
		m.apply(l)
	}
	return m
}

// differences are those of two models.
func differences(a, b model) (out []string) {
	both := maps.Clone(a)
	maps.Copy(both, b)
	for p := range both {
		x, inA := a[p]
		y, inB := b[p]
		switch {
		case !inA:
			out = append(out, "+"+p)
		case !inB:
			out = append(out, "-"+p)
		case x == y:
		case x == "/" || y == "/":
			out = append(out, "~"+p+" type")
		default:
			out = append(out, "~"+p+" content")
		}
	}
	slices.Sort(out)
	return out
}

// Whatever the layers, and however many of them both images share, the differences
// are those that a slow reading finds.
func TestDifferencesAgreeWithASlowReading(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	needless := 0
	for round := range 200 {
		var below, above [2][][]file
		for range r.IntN(3) {
			l := randomLayer(r)
			below[0], below[1] = append(below[0], l), append(below[1], l)
		}
		for i := range above {
			for range r.IntN(3) {
				above[i] = append(above[i], randomLayer(r))
			}
		}
		s := pipelinetest.NewStore()
		all := [2][][]file{append(below[0], above[0]...), append(below[1], above[1]...)}
		a, b := image(t, s, all[0]...), image(t, s, all[1]...)
		c := run(t, s.Source(a), s.Source(b), compare.Options{})
		got := lines(t, c)
		slices.Sort(got)
		if want := differences(modelOf(all[0]), modelOf(all[1])); !slices.Equal(got, want) {
			t.Fatalf("round %d: %v against %v differ in\n%v, expected\n%v", round, all[0], all[1], got, want)
		}
		if len(below[0]) > 0 && len(c.A.Layers) > 0 && c.A.Layers[0].Shared && !c.A.Layers[0].Read {
			needless++
		}
	}
	if needless == 0 {
		t.Error("shared layers were always read")
	}
}

// randomLayer has files, directories and whiteouts in one or two levels, and
// nothing twice.
func randomLayer(r *rand.Rand) (files []file) {
	used := map[string]bool{}
	for range r.IntN(6) {
		top, leaf := fmt.Sprintf("d%d", r.IntN(3)), fmt.Sprintf("f%d", r.IntN(3))
		if used[top] || used[top+"/"+leaf] {
			continue
		}
		body := strings.Repeat("x", r.IntN(3))
		used[top+"/"+leaf] = true
		switch r.IntN(7) {
		case 0:
			if !used[top+"/"] {
				files, used[top] = append(files, file{Name: ".wh." + top}), true
			}
			continue
		case 1:
			files = append(files, file{Name: top + "/.wh." + leaf})
		case 2:
			files = append(files, file{Name: top + "/.wh..wh..opq"})
		case 3:
			if !used[top+"/"] {
				files, used[top] = append(files, file{Name: top, Body: body}), true
			}
			continue
		case 4:
			files = append(files, file{Name: top + "/" + leaf + "/"})
		default:
			files = append(files, file{Name: top + "/" + leaf, Body: body})
		}
		used[top+"/"] = true
	}
	return files
}
