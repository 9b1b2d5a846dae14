package cliplugin

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// writeInfo prints images for people, in the lines of the original and more.
func writeInfo(w io.Writer, a *inspected) error {
	var b bytes.Buffer
	writeEntries(&b, a)
	for n, i := range a.images {
		if n > 0 || len(a.entries) > 0 {
			b.WriteByte('\n')
		}
		writeImage(&b, i)
	}
	if len(a.images) == 0 {
		fmt.Fprintln(&b, "There is no image.")
	}
	_, err := w.Write(append(bytes.TrimRight(b.Bytes(), "\n"), '\n'))
	return err
}

// label prints one line of a column of 15.
func label(b *bytes.Buffer, name, value string) {
	if value != "" {
		fmt.Fprintf(b, "%-15s%s\n", name+":", value)
	}
}

// writeEntries prints the platforms and attestations of indexes.
func writeEntries(b *bytes.Buffer, a *inspected) {
	if len(a.entries) == 0 {
		return
	}
	t := table{head: []string{"Platform", "Manifest Digest", "Size", "Held"}}
	index := a.entries[0].index
	for _, e := range a.entries {
		if e.index != index {
			t.rows = append(t.rows, []string{"index", shortened(e.index.String()), "", ""})
			index = e.index
		}
		what, held := "unknown", ""
		if of, ok := pipeline.AttestationOf(e.Descriptor); ok {
			what = "attestation of " + shortDigest(of)
		} else if e.Platform != nil {
			what = platforms.FormatAll(*e.Platform)
		}
		if e.held != nil && *e.held {
			held = "yes"
		} else if e.held != nil {
			held = "no"
		}
		t.rows = append(t.rows, []string{pipeline.OneLine(what), shortened(e.Digest.String()), infoSize(e.Size), held})
	}
	label(b, "Index", pipeline.OneLine(a.entries[0].index.String()))
	t.write(b)
}

func writeImage(b *bytes.Buffer, i *inspectedImage) {
	name := "unknown:unknown"
	if len(i.names) > 0 {
		name = pipeline.QuoteName(familiar(i.names[0]))
	}
	label(b, "Image", name)
	for _, n := range i.names[min(1, len(i.names)):] {
		label(b, "Also named", pipeline.QuoteName(familiar(n)))
	}
	if !i.bare {
		label(b, "Media type", pipeline.OneLine(i.desc.MediaType))
		label(b, "Schema", fmt.Sprintf("v%d", i.manifest.SchemaVersion))
	}
	p := i.config.Platform
	label(b, "Platform", pipeline.OneLine(strings.Trim(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")))
	if i.config.Created != nil && !i.config.Created.IsZero() {
		label(b, "Created", i.config.Created.Format(time.RFC3339Nano))
	}
	config, manifest, index := i.digests()
	label(b, "Config digest", pipeline.OneLine(config.String()))
	label(b, "Manifest", pipeline.OneLine(manifest.String()))
	label(b, "Index", pipeline.OneLine(index.String()))
	if !i.bare {
		label(b, "Config size", infoSize(i.manifest.Config.Size))
	}
	fmt.Fprintf(b, "\nLayers: %d\n", len(i.layers))
	if !i.bare {
		fmt.Fprintf(b, "Total compressed size: %s\n", infoSize(i.compressed()))
	}
	b.WriteByte('\n')
	if len(i.layers) > 0 {
		layerTable(i).write(b)
		b.WriteByte('\n')
	}
	if n := len(i.config.History); n > 0 {
		fmt.Fprintf(b, "History: %s (%d empty)\n\n", counted(n, "entry", "entries"), i.empty)
	}
	if a := i.manifest.Annotations; len(a) > 0 {
		fmt.Fprintln(b, "Annotations:")
		for _, k := range slices.Sorted(maps.Keys(a)) {
			fmt.Fprintf(b, "  %s\n", pipeline.QuoteName(k+"="+a[k]))
		}
		b.WriteByte('\n')
	}
	writeConfig(b, i.config.Config)
	writeWaste(b, i)
}

// writeConfig prints what a container is started with.
func writeConfig(b *bytes.Buffer, c ocispec.ImageConfig) {
	var in bytes.Buffer
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&in, "  %s: %s\n", name, value)
		}
	}
	line("Entrypoint", pythonList(c.Entrypoint))
	line("Cmd", pythonList(c.Cmd))
	line("WorkingDir", quoteNonEmpty(c.WorkingDir))
	line("User", quoteNonEmpty(c.User))
	line("StopSignal", quoteNonEmpty(c.StopSignal))
	line("Ports", quotedList(sortedKeys(c.ExposedPorts)))
	line("Volumes", quotedList(sortedKeys(c.Volumes)))
	items := func(name string, list []string) {
		if len(list) > 0 {
			fmt.Fprintf(&in, "  %s:\n", name)
		}
		for _, s := range list {
			fmt.Fprintf(&in, "    %s\n", pipeline.QuoteName(s))
		}
	}
	items("Environment", c.Env)
	var labels []string
	for k, v := range c.Labels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	items("Labels", labels)
	if in.Len() > 0 {
		fmt.Fprintln(b, "Container Config:")
		b.Write(in.Bytes())
	}
}

// pythonList is a list as the original shows it.
func pythonList(list []string) string {
	if len(list) == 0 {
		return ""
	}
	var out []string
	for _, s := range list {
		q := fmt.Sprintf("%q", s)
		if !strings.ContainsAny(s, `'"\`) {
			q = "'" + q[1:len(q)-1] + "'"
		}
		out = append(out, q)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func quoteNonEmpty(s string) string {
	if s == "" {
		return ""
	}
	return pipeline.QuoteName(s)
}

func quotedList(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, pipeline.QuoteName(s))
	}
	return strings.Join(out, ", ")
}

// infoSize is a size in the form of the original, in powers of 1024.
func infoSize(n int64) string {
	const step = 1024
	switch {
	case n < 0:
		return "N/A"
	case n < step:
		return fmt.Sprintf("%d B", n)
	case n < step*step:
		return fmt.Sprintf("%.1f KB", float64(n)/step)
	case n < step*step*step:
		return fmt.Sprintf("%.1f MB", float64(n)/(step*step))
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(step*step*step))
}
