package pipeline_test

import (
	"testing"

	"github.com/occystrap/occystrap/pipeline"
)

func TestTextOfStrangersIsOneLineWithoutControlCharacters(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct{ line, name string }{
		"größe":         {"größe", "größe"},
		"\ta\tb\r\nc\n": {"a b  c", `"\ta\tb\r\nc\n"`},
		"\x1b[31mred":   {"\ufffd[31mred", `"\x1b[31mred"`},
		"\xff":          {"\ufffd", `"\xff"`},
		`"a`:            {`"a`, `"\"a"`},
		"a\u202eb":      {"a\ufffdb", `"a\u202eb"`},
		"":              {"", ""},
	} {
		if got := pipeline.OneLine(in); got != want.line {
			t.Errorf("OneLine(%q) = %q, expected %q", in, got, want.line)
		}
		if got := pipeline.QuoteName(in); got != want.name {
			t.Errorf("QuoteName(%q) = %q, expected %q", in, got, want.name)
		}
	}
}
