package cliplugin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/pipeline"
)

// The values of flags that are more than a string, so that a bad one is refused
// while the command line is read.
var (
	_ pflag.Value = (*choice)(nil)
	_ pflag.Value = (*count)(nil)
	_ pflag.Value = (*size)(nil)
	_ pflag.Value = (*platformList)(nil)
)

// choice is one of a few words.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("it takes one of %s", strings.Join(c.allowed, ", "))
	}
	c.value = s
	return nil
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "string" }

// count is a whole number not below least.
type count struct {
	value, least int
}

func (c *count) Set(s string) error {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < c.least {
		return fmt.Errorf("it takes a whole number, %d or more", c.least)
	}
	c.value = n
	return nil
}

func (c *count) String() string { return strconv.Itoa(c.value) }
func (c *count) Type() string   { return "int" }

// size is a number of bytes, with k, m, g for powers of 1024 as everywhere in
// Docker's options. 0 is "as it is by default".
type size int64

func (z *size) Set(s string) error {
	n, err := units.RAMInBytes(s)
	if err != nil || n < 1 {
		return fmt.Errorf("it takes a number of bytes, 1 or more, with a suffix like k, m or g")
	}
	*z = size(n)
	return nil
}

func (z *size) String() string {
	if *z == 0 {
		return ""
	}
	return units.BytesSize(float64(*z))
}

func (z *size) Type() string { return "bytes" }

// exact is the number of bytes, for a URI; "" for none.
func (z *size) exact() string {
	if *z == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*z), 10)
}

// platformList is a list that grows with each use of the flag and each comma.
type platformList []ocispec.Platform

func (l *platformList) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		p, err := pipeline.ParsePlatform(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		*l = append(*l, p)
	}
	return nil
}

func (l *platformList) String() string {
	if len(*l) == 0 {
		return ""
	}
	return pipeline.Platforms{Want: *l}.String()
}

func (l *platformList) Type() string { return "platform" }
