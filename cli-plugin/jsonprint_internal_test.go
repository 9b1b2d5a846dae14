package cliplugin

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// What an image says may be anything: a terminal that shows JSON is not to obey it,
// and whoever parses it gets it whole.
func TestJSONHasNothingThatATerminalActsOn(t *testing.T) {
	t.Parallel()
	const hostile = "\x1b[31m \x7f \u0085 \u009b31m \u202etxt.exe \u2066 – ü"
	e := jsonEvent{Message: hostile}
	var object, line, event, found bytes.Buffer
	compact, err := compactJSON(e)
	if err != nil {
		t.Fatal(err)
	}
	line.Write(compact)
	(&jsonEvents{w: &event}).write(e)
	if err := writeJSON(&object, e); err != nil {
		t.Fatal(err)
	}
	results := &searchJSON{&found}
	if err := results.print(e); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]*bytes.Buffer{"an object": &object, "a line": &line, "an event": &event, "a result of search": &found} {
		if strings.ContainsAny(out.String(), "\x1b\x7f\u0085\u009b\u202e\u2066") {
			t.Errorf("%s has control characters: %q", name, out)
		}
		var got jsonEvent
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Message != hostile {
			t.Errorf("%s is read as %q: %v", name, got.Message, err)
		}
	}
}
