package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// maxNetrc bounds a .netrc, in bytes.
const maxNetrc = 1 << 20

// Netrc is a keychain of the file that $NETRC names, or else of ~/.netrc: the
// Python original's HTTP library read it unasked, so some users keep their logins
// there. A host is looked up without its port. The entry "default" does not
// count: it would send a login to every registry that asks.
func Netrc(getenv func(string) string) Keychain {
	path := getenv("NETRC")
	if home := getenv("HOME"); path == "" && home != "" {
		path = filepath.Join(home, ".netrc")
	}
	if path == "" {
		return static{}
	}
	return netrc(path)
}

type netrc string

func (n netrc) Lookup(_ context.Context, host string) (Credential, bool, error) {
	file, err := os.Open(string(n))
	if errors.Is(err, fs.ErrNotExist) {
		return Credential{}, false, nil
	}
	if err != nil {
		return Credential{}, false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxNetrc))
	if err != nil {
		return Credential{}, false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	host, _, _ = strings.Cut(host, "/")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	machines := netrcMachines(string(text))
	for _, name := range hostNames(host) {
		if c := machines[name]; c.Username != "" && c.Secret != "" {
			return c, true, nil
		}
	}
	return Credential{}, false, nil
}

// netrcMachines reads a .netrc: words "machine NAME", "login NAME", "password
// WORD", in any order of lines. The first entry of a machine counts.
func netrcMachines(text string) map[string]Credential {
	machines := map[string]Credential{}
	name, entry := "", Credential{}
	end := func() {
		if _, had := machines[name]; !had && name != "" {
			machines[name] = entry
		}
		name, entry = "", Credential{}
	}
	for word, rest, more := netrcWord(text); more; word, rest, more = netrcWord(rest) {
		value, after, _ := netrcWord(rest)
		switch word {
		case "machine":
			end()
			name = value
		case "login", "user":
			entry.Username = value
		case "password":
			entry.Secret = Secret(value)
		case "account":
		case "macdef": // a macro ends at an empty line
			_, after, _ = strings.Cut(rest, "\n\n")
		case "default":
			end()
			continue
		default: // none that we know, and without a value
			continue
		}
		rest = after
	}
	end()
	return machines
}

// netrcWord cuts the first word off: comments are passed over, quotes and
// backslashes are taken away. False is the end.
func netrcWord(text string) (word, rest string, ok bool) {
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if !strings.HasPrefix(text, "#") {
			break
		}
		_, text, _ = strings.Cut(text, "\n")
	}
	if text == "" {
		return "", "", false
	}
	var b strings.Builder
	quoted := strings.HasPrefix(text, `"`)
	text = strings.TrimPrefix(text, `"`)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case quoted && c == '"', !quoted && strings.IndexByte(" \t\r\n", c) >= 0:
			return b.String(), text[i+1:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", true
}
