package dir

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// put lists the images of a run, each in manifest.json or, with unique, in a
// file of its own, and returns the files. The newest image comes first: it is
// what reads only one will take. Whatever had one of their names loses it.
func (l *lists) put(images []plainImage, unique bool) (files []string) {
	for _, i := range images {
		file := manifestJSON
		if unique {
			file = l.fileFor(i)
		}
		files = append(files, file)
		for _, n := range i.full {
			l.catalog.remove(n)
			l.forget(n)
		}
		l.forgetNameless(i)
	}
	for k := len(images) - 1; k >= 0; k-- { // the first comes out first
		li := l.listing(files[k])
		if unique {
			li.images = nil
		}
		li.images = slices.Insert(li.images, 0, images[k].savedImage)
		l.touch(files[k])
		for _, n := range images[k].full {
			l.catalog.add(n, files[k])
		}
	}
	return files
}

// fileFor is the manifest file of an image with unique_names. Where another
// image has it (a_b/c and a/b_c, or the same name in two registries), a part of
// the digest of the whole name tells them apart.
func (l *lists) fileFor(i plainImage) string {
	const enough = 12
	if len(i.full) == 0 {
		return "manifest-" + strings.TrimSuffix(i.Config, ".json")[:enough] + ".json"
	}
	full := i.full[0]
	file := manifestFile(full)
	for _, li := range l.listings {
		if li.file == file && len(li.images) > 0 && !slices.ContainsFunc(li.images, func(s savedImage) bool { return slices.Contains(s.names(), full) }) {
			return strings.TrimSuffix(file, ".json") + "-" + digest.FromString(full).Encoded()[:enough] + ".json"
		}
	}
	return file
}

func (l *lists) listing(file string) *listing {
	for i := range l.listings {
		if l.listings[i].file == file {
			return &l.listings[i]
		}
	}
	l.listings = append(l.listings, listing{file: file})
	return &l.listings[len(l.listings)-1]
}

func (l *lists) touch(file string) {
	if !slices.Contains(l.changed, file) {
		l.changed = append(l.changed, file)
	}
}

// forget takes a name from the images that have it. An image that has no name
// left is not listed any more, as if its tag had been overwritten.
func (l *lists) forget(full string) {
	for k := range l.listings {
		li := &l.listings[k]
		li.images = slices.DeleteFunc(slices.Clone(li.images), func(s savedImage) bool {
			if !slices.Contains(s.names(), full) {
				return false
			}
			l.touch(li.file)
			return len(s.names()) == 1
		})
		for j, s := range li.images {
			if slices.Contains(s.names(), full) {
				li.images[j] = s.without(full)
			}
		}
	}
}

// without is the entry with one name less.
func (s savedImage) without(full string) savedImage {
	names := slices.DeleteFunc(s.names(), func(n string) bool { return n == full })
	s.RepoTags = nil
	for _, n := range names {
		name, tag := imagename.Split(n)
		s.RepoTags = append(s.RepoTags, name+":"+tag)
	}
	if s.ImageName != "" {
		s.ImageName, _ = imagename.Split(names[0])
	}
	return s
}

// forgetNameless takes out an entry of the same image that has no name.
func (l *lists) forgetNameless(i plainImage) {
	for k := range l.listings {
		li := &l.listings[k]
		li.images = slices.DeleteFunc(li.images, func(s savedImage) bool {
			same := len(s.names()) == 0 && s.Config == i.Config
			if same {
				l.touch(li.file)
			}
			return same
		})
	}
}

// write writes the lists that changed: new images first, so that a name is in
// two lists for a moment rather than in none; the catalog last.
func (l *lists) write(s *session) error {
	slices.Reverse(l.changed) // put touches the files of new images last
	for _, file := range l.changed {
		li := l.listing(file)
		if len(li.images) == 0 {
			l.emptied = append(l.emptied, file)
			continue
		}
		raw, err := staging.JSON(li.images)
		if err != nil {
			return err
		}
		if err := s.Write(file, raw); err != nil {
			return err
		}
	}
	raw, err := staging.JSON(l.catalog)
	if err != nil {
		return err
	}
	if err := s.Write(catalogJSON, raw); err != nil {
		return err
	}
	for _, file := range l.emptied {
		if err := s.root.Remove(file); err != nil {
			return staging.Plain(err)
		}
		if err := s.RemoveTree(treeName(file)); err != nil {
			return err
		}
	}
	return nil
}
