package check_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/check"
)

// model is what a slow reading of the layers, from the lowest up, finds.
type model struct {
	tree          map[string]int64 // files that are visible
	total, wasted int64
	count         int
}

func (m *model) hide(path string, below bool) {
	for p, size := range m.tree {
		if p == path && !below || strings.HasPrefix(p, path+"/") || path == "" {
			m.wasted += size
			if size > 0 {
				m.count++
			}
			delete(m.tree, p)
		}
	}
}

// apply adds a layer: first what it deletes and replaces, then what it has.
func (m *model) apply(files []file) {
	for _, f := range files {
		dir, base, _ := strings.Cut(f.Name, "/")
		if base == "" {
			dir, base = "", dir
		}
		switch hidden, ok := strings.CutPrefix(base, ".wh."); {
		case base == ".wh..wh..opq":
			m.hide(dir, true)
		case ok && dir != "":
			m.hide(dir+"/"+hidden, false)
		case ok:
			m.hide(hidden, false)
		case !strings.HasSuffix(f.Name, "/"):
			m.hide(f.Name, false)
		}
	}
	for _, f := range files {
		if !strings.Contains(f.Name, ".wh.") && !strings.HasSuffix(f.Name, "/") {
			m.tree[f.Name] = int64(len(f.Body))
			m.total += int64(len(f.Body))
		}
	}
}

// Whatever the layers, what is wasted is what a slow reading from the lowest
// layer up finds.
func TestWasteAgreesWithASlowReading(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		p := good(t)
		m := &model{tree: map[string]int64{"bin/su": 2, "old": 1}, total: 3}
		m.apply([]file{{Name: ".wh.old"}})
		for range 1 + r.IntN(5) {
			files := randomLayer(r)
			p.files(t, files...)
			m.apply(files)
		}
		w := run(t, p.put(t), check.Options{}).Images[0].Waste
		if w.Total != m.total || w.Wasted != m.wasted || w.Count != m.count {
			t.Fatalf("round %d: %d of %d bytes in %d files, expected %d of %d in %d", round, w.Wasted, w.Total, w.Count, m.wasted, m.total, m.count)
		}
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
		body := strings.Repeat("x", r.IntN(5))
		switch r.IntN(7) {
		case 0:
			if !used[top+"/"] {
				files, used[top] = append(files, file{Name: ".wh." + top}), true
			}
			continue
		case 1:
			files = append(files, file{Name: top + "/.wh." + leaf})
		case 2:
			if used[top+"/opq"] {
				continue
			}
			files, used[top+"/opq"] = append(files, file{Name: top + "/.wh..wh..opq"}), true
		case 3:
			if !used[top+"/"] {
				files, used[top] = append(files, file{Name: top, Body: body}), true
			}
			continue
		default:
			files = append(files, file{Name: top + "/" + leaf, Body: body})
		}
		used[top+"/"], used[top+"/"+leaf] = true, true
	}
	return files
}
