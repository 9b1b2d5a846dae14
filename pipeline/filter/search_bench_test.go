package filter_test

import (
	"fmt"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// BenchmarkSearch looks at the headers of many small files, and inside them.
func BenchmarkSearch(b *testing.B) {
	var members []member
	for i := range 20_000 {
		members = append(members, file(fmt.Sprintf("usr/share/d%d/file-%d.txt", i/100, i), "line of text\nanother line of text\n"))
	}
	layer := tarOf(b, members...)
	for name, o := range map[string]filter.SearchOptions{
		"names":   {Pattern: "*.pem"},
		"regex":   {Pattern: `\.pem$`, Regex: true},
		"content": {Pattern: "needle", Content: true},
		"all":     {Pattern: "*"},
	} {
		b.Run(name, func(b *testing.B) {
			src := imageOf(b, layer)
			b.SetBytes(int64(len(layer)))
			b.ReportAllocs()
			for b.Loop() {
				if err := pipeline.Look(b.Context(), src, newSearch(b, o, &searched{}), pipeline.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
