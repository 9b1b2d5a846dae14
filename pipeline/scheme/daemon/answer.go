package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A message is one JSON document of the stream that answers a load.
type message struct {
	Stream string `json:"stream"`
	Error  string `json:"error"`
	Detail *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// complaint is the error that a message reports; "" for none.
func (m message) complaint() string {
	if m.Detail != nil && m.Detail.Message != "" {
		return m.Detail.Message
	}
	return m.Error
}

// answerLimit bounds what a daemon may say about one load; without progress it
// says a line for each image.
const answerLimit = 16 << 20

// errTwin is that the containerd store has got an image by another load while ours
// was going to record it: containerd looks for an image's name and then creates it, and
// fails where somebody did so in between (containerd v2, client/import.go, Import).
// Loads without names meet there, since Docker names what they bring by its digest.
var errTwin = errors.New("another load brought the same image at the same moment")

// readAnswer reads the answer to a load to its end. An error that the daemon
// reports comes inside status 200, and may come before the archive is sent whole.
func readAnswer(r io.Reader) error {
	limited := &io.LimitedReader{R: r, N: answerLimit}
	d := json.NewDecoder(limited)
	for {
		var m message
		err := d.Decode(&m)
		switch {
		case limited.N <= 0:
			return fmt.Errorf("the daemon's answer has more than %d bytes", answerLimit)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the daemon's answer: %w", err)
		}
		if words := m.complaint(); strings.HasPrefix(words, "AlreadyExists:") {
			return fmt.Errorf("the daemon refused the image: %s: %w", strings.TrimSpace(words), errTwin)
		} else if words != "" {
			return fmt.Errorf("the daemon refused the image: %s", strings.TrimSpace(words))
		}
		for line := range strings.Lines(m.Stream) {
			// Docker with the containerd store only mentions this, and counts the
			// load as a success (moby, daemon/containerd, LoadImage).
			if strings.HasPrefix(line, "Error unpacking image") {
				return fmt.Errorf("the daemon cannot use the image: %s", strings.TrimSpace(line))
			}
		}
	}
}
