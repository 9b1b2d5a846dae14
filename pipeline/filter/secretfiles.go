package filter

import (
	"regexp"
	"strings"
	"sync"
)

// A loginFile is a file that tools keep logins in. What the login looks like
// depends on whoever gave it, so the name of the file has to tell.
type loginFile struct {
	what  string
	names []string // last parts of its path
	login *regexp.Regexp
}

// maxLogins is how much of such a file is looked at; they are small.
const maxLogins = 64 << 10

// loginFiles are those that are known. A value that begins with $ or % is filled
// in elsewhere.
var loginFiles = sync.OnceValue(func() []loginFile {
	return []loginFile{
		{
			what: "the login of an npm registry", names: []string{".npmrc", "npmrc"},
			login: regexp.MustCompile(`(?m)^[^#;\n]*(?:_authToken|_auth|_password)[ \t]*=[ \t]*["']?[^\s"'$%<][^\s"']{7,}`),
		},
		{
			what: "a login", names: []string{".netrc", "_netrc"},
			login: regexp.MustCompile(`(?m)^(?:[^#\n]*[ \t])?password\s+[^\s$<]\S*`),
		},
		{
			what: "the login of a Python registry", names: []string{".pypirc"},
			login: regexp.MustCompile(`(?m)^[ \t]*password[ \t]*[=:][ \t]*[^\s$%<]\S*`),
		},
		{
			what: "a login of git", names: []string{".git-credentials"},
			login: regexp.MustCompile(`(?m)^[a-z]+://[^:/\s]*:[^@\s]+@`),
		},
		{
			what:  "the login of a container registry",
			names: []string{".docker/config.json", "containers/auth.json", ".dockercfg", ".dockerconfigjson"},
			login: regexp.MustCompile(`"(?:auth|identitytoken|registrytoken|password)"\s*:\s*"[^"$]{4,}"`),
		},
	}
})

// loginFileOf finds what a place is by its name; nil for any other file.
func loginFileOf(place string) *loginFile {
	for _, f := range loginFiles() {
		for _, n := range f.names {
			if place == n || strings.HasSuffix(place, "/"+n) {
				return &f
			}
		}
	}
	return nil
}
