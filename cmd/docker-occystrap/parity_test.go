package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// parityTable maps the rows of the parity checklist to tests.
const parityTable = "../../contrib/docs/parity.md"

// A cell names tests as `package path` `TestName/subtest`, several of them
// separated by <br>. Rows of defects have a third cell, which says what no test
// can; only with it may the second be empty.
var parityCell = regexp.MustCompile("^`([^`]+)` `(Test[^`/]*)(/[^`]+)?`$")

func TestParityTableNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(parityTable)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{} // folder → its test functions
	seen := map[string]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 2 || cells[0] == "row" || cells[0] == "defect" {
			continue
		}
		row := cells[0]
		if seen[row] {
			t.Errorf("%s:%d: row %s is there twice", parityTable, i+1, row)
		}
		seen[row] = true
		if len(cells) > 2 && cells[1] == "" && len(cells[2]) > len(row) {
			continue
		}
		for cell := range strings.SplitSeq(cells[1], "<br>") {
			m := parityCell.FindStringSubmatch(strings.TrimSpace(cell))
			if m == nil {
				t.Errorf("%s:%d: row %s: %q is not of the form `folder` `TestName/subtest`", parityTable, i+1, row, cell)
				continue
			}
			checkTest(t, known, row, m[1], m[2], strings.TrimPrefix(m[3], "/"))
		}
	}
	for _, row := range due() {
		if !seen[row] {
			t.Errorf("%s has no row %s", parityTable, row)
		}
	}
}

// due lists the rows of the checklist that are to be there: all but those of the
// proxy (Y, L11).
func due() (rows []string) {
	for _, group := range []struct {
		row  string
		last int
		not  []int
	}{
		{"C%02d", 35, nil},
		{"U%02d", 35, nil},
		{"I%02d", 17, nil},
		{"P%02d", 16, nil},
		{"K%02d", 15, nil},
		{"R%02d", 38, nil},
		{"F%02d", 41, nil},
		{"O%02d", 60, nil},
		{"X%02d", 30, nil},
		{"H%02d", 14, nil},
		{"N%02d", 12, nil},
		{"Q%02d", 24, nil},
		{"L%02d", 16, []int{11}},
		{"G%02d", 39, nil},
		{"D%d", 79, nil},
	} {
		for n := 1; n <= group.last; n++ {
			if !slices.Contains(group.not, n) {
				rows = append(rows, fmt.Sprintf(group.row, n))
			}
		}
	}
	return rows
}

// checkTest wants a test function in a folder, and the script of a subtest that
// is one.
func checkTest(t *testing.T, known map[string]map[string]bool, row, folder, name, sub string) {
	t.Helper()
	dir := filepath.Join("../..", folder)
	if known[folder] == nil {
		known[folder] = testsIn(t, dir)
	}
	if !known[folder][name] {
		t.Errorf("row %s: there is no %s in %s", row, name, folder)
	}
	if name != "TestScript" {
		return
	}
	if _, err := os.Stat(filepath.Join(dir, "testdata", "script", sub+".txtar")); err != nil {
		t.Errorf("row %s: %v", row, err)
	}
}

// testsIn lists the test functions in a folder, whatever their build tags.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	files, err := fs.Glob(os.DirFS(dir), "*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				found[fn.Name.Name] = true
			}
		}
	}
	return found
}
