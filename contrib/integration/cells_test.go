//go:build integration && linux

package integration

import (
	"flag"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// A cell of the matrix is one image from somewhere to somewhere through filters.
type cell struct {
	from, to, filter string
	source           string // URI
	sink             place
}

// A verdict is what other programs are asked for: an image as some place has it.
// from is "" where it does not matter who brought it.
type verdict struct {
	from, to string
	image    made
}

// A matrix runs cells and remembers what was judged.
type matrix struct {
	cells []cell

	mu     sync.Mutex
	judged map[verdict]int
}

// run runs the cells: those of a chain one after the other, the rest on all
// cores. It does not leave that to Parallel, where cells that wait for their turn
// would hold the places of those that could run.
func (m *matrix) run(t *testing.T) {
	t.Helper()
	free, chains := make(chan cell, len(m.cells)), map[string][]cell{}
	for _, c := range m.cells {
		if c.sink.chain == "" {
			free <- c
		} else {
			chains[c.sink.chain] = append(chains[c.sink.chain], c)
		}
	}
	close(free)
	var all sync.WaitGroup
	defer all.Wait()
	for _, chain := range chains {
		all.Go(func() {
			for _, c := range chain {
				t.Run(c.name(), func(t *testing.T) { m.test(t, c) })
			}
		})
	}
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for c := range free {
				t.Run(c.name(), func(t *testing.T) { m.test(t, c) })
			}
		})
	}
}

func (c cell) name() string { return c.from + "/" + c.to + "/" + c.filter }

// test runs a cell: by one worker and by eight, which must make one image.
func (m *matrix) test(t *testing.T, c cell) {
	t.Helper()
	filters := filterCases(t)[c.filter]
	one, many := c.sink.uri(t), c.sink.uri(t)
	first, second := processAs(t, c.source, one, "1", filters), processAs(t, c.source, many, "8", filters)
	if first != second {
		t.Errorf("with one worker it is %+v, with eight %+v", first, second)
	}
	if c.sink.look != nil {
		c.sink.look(t, one)
	}
	if uri := m.judges(c, first, one, many); uri != "" {
		c.sink.judge(t, uri)
	}
}

// judges says what of a cell other programs are to look at. Most filters leave
// the image as it is, and most sources have the same image, so the same result
// comes again and again: each is judged twice in each place, what one worker made
// and what eight made, and so are the first two results of every pair of source
// and sink.
func (m *matrix) judges(c cell, image made, one, many string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	result, pair := verdict{to: c.to, image: image}, verdict{from: c.from, to: c.to}
	times, pairs := m.judged[result], m.judged[pair]
	switch {
	case times > 1 && pairs > 1:
		return ""
	case pairs == 1 || pairs > 1 && times == 1:
		one = many
	}
	m.judged[result]++
	m.judged[pair]++
	return one
}

// asked says whether -run, if it is given, names a source: setting all of them up
// takes a while.
func asked(source string) bool {
	run := flag.Lookup("test.run").Value.String()
	parts := strings.Split(run, "/")
	if len(parts) < 2 || strings.Contains(run, "|") {
		return true
	}
	ok, err := regexp.MatchString(parts[1], source)
	return ok || err != nil
}
