package tarball

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// sumsName is the file beside the volumes that sha256sum -c reads.
const sumsName = "SHA256SUMS"

// maxSums bounds that file, in bytes: others' files may stand in it as well.
const maxSums = 8 << 20

// sums is the text of a SHA256SUMS: a line for each file, in GNU's form. Lines of
// other files stay as they are.
type sums []string

// readSums reads the file of a directory; nothing where there is none.
func readSums(dir string) (sums, error) {
	f, err := os.Open(filepath.Join(dir, sumsName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSums+1))
	if err == nil && len(raw) > maxSums {
		err = fmt.Errorf("it has more than %d bytes: %w", maxSums, pipeline.ErrLimit)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	var out sums
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxSums+1)
	for lines.Scan() {
		out = append(out, lines.Text())
	}
	return out, lines.Err()
}

// of are the sums of the volumes of an archive, by their names.
func (s sums) of(base string) map[string]string {
	out := map[string]string{}
	for _, line := range s {
		if name, sum := parseSum(line); isVolume(base, name) {
			out[name] = sum
		}
	}
	return out
}

// with is the text with these sums in place of those of an archive's volumes.
func (s sums) with(base string, names []string, hashes [][]byte) []byte {
	var b bytes.Buffer
	for _, line := range s {
		if name, _ := parseSum(line); !isVolume(base, name) {
			b.WriteString(line + "\n")
		}
	}
	for i, name := range names {
		mark, escaped := "", name
		if strings.ContainsAny(name, "\\\n") { // as GNU's sha256sum writes it
			mark, escaped = `\`, strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(name)
		}
		fmt.Fprintf(&b, "%s%s  %s\n", mark, hex.EncodeToString(hashes[i]), escaped)
	}
	return b.Bytes()
}

// sumLine is a line of sha256sum: the sum, a blank, a blank or a star, the name.
var sumLine = regexp.MustCompile(`^(\\?)([0-9a-f]{64}) [ *](.*)$`)

// parseSum reads a line; "" for one that says something else.
func parseSum(line string) (name, sum string) {
	m := sumLine.FindStringSubmatch(line)
	if m == nil {
		return "", ""
	}
	name = strings.TrimPrefix(m[3], "./")
	if m[1] != "" {
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(name)
	}
	return name, m[2]
}

// volumeName is that of the n-th volume, counted from 1.
func volumeName(base string, n int) string { return fmt.Sprintf("%s.%03d", base, n) }

// isVolume says whether a file's name is that of a volume of an archive.
func isVolume(base, name string) bool {
	number, ok := strings.CutPrefix(name, base+".")
	return ok && volumeNumber.MatchString(number)
}

var volumeNumber = regexp.MustCompile(`^[0-9]{3}$`)
