package bundle_test

import (
	"archive/tar"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestUserIsFoundInTheImagesFiles(t *testing.T) {
	t.Parallel()
	for who, want := range map[string]struct {
		uid, gid uint32
		groups   []uint32
		err      string
	}{
		"":           {0, 0, []uint32{0, 7, 10}, ""},
		"0":          {0, 0, []uint32{0, 7, 10}, ""},
		"app":        {1000, 1000, []uint32{3, 7, 1000}, ""},
		"1000":       {1000, 1000, []uint32{3, 7, 1000}, ""},
		"app:log":    {1000, 7, []uint32{7}, ""},
		"app:55":     {1000, 55, []uint32{55}, ""},
		"77":         {77, 0, []uint32{0}, ""},
		"77:88":      {77, 88, []uint32{88}, ""},
		"nobody":     {err: `find the image's user "nobody": unable to find user nobody: no matching entries in passwd file (-f config:user=0 chooses another)`},
		"app:none":   {err: "unable to find group none"},
		"big":        {err: "which is none"},
		"4294967296": {err: "uids and gids must be in range"},
		"-1":         {err: "uids and gids must be in range"},
	} {
		t.Run("user "+who, func(t *testing.T) {
			t.Parallel()
			s, _, err := made(t, "?rootless=false", ocispec.ImageConfig{User: who}, users(t))
			if want.err != "" {
				if err == nil || !strings.Contains(err.Error(), want.err) {
					t.Errorf("got %v, want %q", err, want.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if u := s.Process.User; u.UID != want.uid || u.GID != want.gid || !slices.Equal(u.AdditionalGids, want.groups) {
				t.Errorf("got %+v", u)
			}
		})
	}
}

// The files may be links, which end in the image; without files there are
// numbers, and no link leads to the host's.
func TestUserFilesAreTheImagesOwn(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "passwd")
	writeFile(t, outside, "app:x:4242:4242::/:\n")
	link := func(name, to string) pipelinetest.File {
		return pipelinetest.File{Name: name, Link: to, Type: tar.TypeSymlink}
	}
	huge := strings.Repeat("x:x:1:1::/:\n", 16<<20/12+1)
	for name, c := range map[string]struct {
		files []pipelinetest.File
		uid   uint32
		err   string
	}{
		"link within":         {[]pipelinetest.File{link("etc/passwd", "/usr/share/passwd"), {Name: "usr/share/passwd", Body: "app:x:5:5::/:"}}, 5, ""},
		"link to the host":    {[]pipelinetest.File{link("etc/passwd", outside)}, 0, "unable to find user app"},
		"link up":             {[]pipelinetest.File{link("etc/passwd", "../../../../../.."+outside)}, 0, "unable to find user app"},
		"directory is a link": {[]pipelinetest.File{link("etc", filepath.Dir(outside))}, 0, "unable to find user app"},
		"links in a circle":   {[]pipelinetest.File{link("etc/passwd", "passwd")}, 0, "unable to find user app"},
		"no files":            {nil, 0, "unable to find user app"},
		"a pipe":              {[]pipelinetest.File{{Name: "etc/passwd", Type: tar.TypeFifo}}, 0, "is not a regular file"},
		"too large":           {[]pipelinetest.File{{Name: "etc/passwd", Body: huge}}, 0, "more than 16777216"},
		"a line without end":  {[]pipelinetest.File{{Name: "etc/passwd", Body: strings.Repeat("x", 1<<20)}}, 0, "token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, err := made(t, "?rootless=false", ocispec.ImageConfig{User: "app"}, pipelinetest.Tar(t, c.files...))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			if err == nil && s.Process.User.UID != c.uid {
				t.Errorf("got %+v", s.Process.User)
			}
		})
	}
}
