package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	// leastSecret is what cannot be found by trying, at the rate of a local server.
	leastSecret = 16
	// maxCost bounds what one login costs: each step doubles it, and 14 is a second.
	maxCost = 14
)

// A sum stands for a secret: equal ones are found without keeping it, in constant time.
type sum [sha256.Size]byte

// users are the lines of an htpasswd file: names and bcrypt hashes.
type users struct {
	hash map[string][]byte
	// dummy is checked for names that are not there, so that time does not tell them from
	// others. Nobody has its password.
	dummy []byte
}

func parseUsers(raw []byte) (users, error) {
	u := users{hash: map[string][]byte{}}
	most := bcrypt.MinCost
	for n, line := range lines(raw) {
		name, hash, ok := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case !ok || name == "":
			return u, fmt.Errorf("line %d is not NAME:HASH; htpasswd -B writes it", n)
		case err != nil:
			return u, fmt.Errorf("line %d has no bcrypt hash, the only kind that is taken; htpasswd -B writes it", n)
		case cost > maxCost:
			return u, fmt.Errorf("line %d has a bcrypt cost of %d; at most %d, since each login pays it", n, cost, maxCost)
		case u.hash[name] != nil:
			return u, fmt.Errorf("line %d names a user a second time", n)
		}
		u.hash[name], most = []byte(hash), max(most, cost)
	}
	var err error
	u.dummy, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), most)
	return u, err
}

// tokens are the names of those who may use a bearer token.
type tokens map[sum]string

// parseTokens reads lines NAME:TOKEN or NAME:sha256:HEX.
func parseTokens(raw []byte) (tokens, error) {
	t := tokens{}
	for n, line := range lines(raw) {
		name, token, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("line %d is not NAME:TOKEN or NAME:sha256:HEX", n)
		}
		s := sum(sha256.Sum256([]byte(token)))
		if text, hashed := strings.CutPrefix(token, "sha256:"); hashed {
			b, err := hex.DecodeString(text)
			if err != nil || len(b) != len(s) {
				return nil, fmt.Errorf("line %d has no SHA-256 in hexadecimal digits behind sha256", n)
			}
			s = sum(b)
		} else if len(token) < leastSecret {
			return nil, fmt.Errorf("line %d has a token of less than %d characters, which can be found by trying", n, leastSecret)
		}
		if t[s] != "" {
			return nil, fmt.Errorf("line %d has the token of another line", n)
		}
		t[s] = name
	}
	return t, nil
}

// lines are those of a file that say something, by their number.
func lines(raw []byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for i, line := range strings.Split(string(raw), "\n") {
			line = strings.TrimSpace(line)
			if line != "" && line[0] != '#' && !yield(i+1, line) {
				return
			}
		}
	}
}

func parseSecret(raw []byte) (sum, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) < leastSecret || bytes.ContainsAny(raw, "\r\n") {
		return sum{}, fmt.Errorf("it takes one line of at least %d characters", leastSecret)
	}
	return sha256.Sum256(raw), nil
}

// EnsureSecret makes the file of an installation's secret, readable to its owner only,
// unless there is one.
func EnsureSecret(name string) error {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the secret: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(b) + "\n")
	return errors.Join(err, f.Close())
}
