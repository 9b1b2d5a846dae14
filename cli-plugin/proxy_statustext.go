package cliplugin

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/proxy/meter"
)

// writeStatus is a proxy's status for people.
func writeStatus(w io.Writer, host string, s meter.Status) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, pipeline.OneLine(fmt.Sprintf(format, args...)))
	}
	row("Proxy", "%s, version %s, up for %s", host, s.Version, duration(s.Now.Sub(s.Started)))
	if s.NotReady != "" {
		row("Not ready", "%s", s.NotReady)
	}
	row("Requests", "%d in all, %d failed; %d now, %d waiting", s.Requests, s.Failed, s.InFlight, s.Queue)
	row("Images", "%d pushed, %d failed; %d pulled, %d failed", s.Images.Pushed, s.Images.PushFailed, s.Images.Pulled, s.Images.PullFailed)
	rate := "nothing was pulled yet"
	if s.HitRate >= 0 {
		rate = fmt.Sprintf("%.1f %% hits; %s did not have to move", s.HitRate*100, human(s.Saved))
	}
	row("Cache", "%s", rate)
	row("Clients", "%s in, %s out", human(s.Bytes[meter.ClientIn]), human(s.Bytes[meter.ClientOut]))
	row("Registries", "%s from upstream; %s to downstream, %s from it", human(s.Bytes[meter.UpstreamIn]), human(s.Bytes[meter.DownstreamOut]), human(s.Bytes[meter.DownstreamIn]))
	switch {
	case s.StoreError != "":
		row("Store", "does not answer: %s", s.StoreError)
	case s.Store != nil:
		row("Store", "%s", storeLine(*s.Store))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if err := writeHosts(w, s); err != nil {
		return err
	}
	return writeMoving(w, s)
}

func storeLine(u meter.StoreUse) string {
	text := fmt.Sprintf("%s, %s", human(u.Bytes), counted(int(u.Images), "image", "images"))
	if u.Pinned > 0 {
		text += fmt.Sprintf(", %d pinned", u.Pinned)
	}
	if u.High > 0 {
		text += fmt.Sprintf("; at most %s (%.0f %%)", human(u.High), float64(u.Bytes)/float64(u.High)*100)
	}
	return text
}

// writeHosts is a line for each registry behind the proxy.
func writeHosts(w io.Writer, s meter.Status) error {
	if len(s.Hosts) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nREGISTRY\tSIDE\tSTATE\tREQUESTS\tFAILURES\tBUDGET")
	for _, h := range s.Hosts {
		state, end := "answers", "upstream"
		if h.Downstream {
			end = "downstream"
		}
		if !h.Healthy() {
			state = "failed " + duration(s.Now.Sub(h.ErrorAt)) + " ago"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\n", pipeline.OneLine(h.Host), end, state, h.Requests, reasons(h.Errors), budget(h.Budget, s.Now))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, h := range s.Hosts {
		if !h.Healthy() {
			if _, err := fmt.Fprintf(w, "%s: %s\n", pipeline.OneLine(h.Host), pipeline.OneLine(h.LastError)); err != nil {
				return err
			}
		}
	}
	return nil
}

// reasons are failures by their reasons, "503: 2, timeout: 1".
func reasons(errors map[string]int64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(errors)) {
		parts = append(parts, fmt.Sprintf("%s: %d", reason, errors[reason]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return pipeline.OneLine(strings.Join(parts, ", "))
}

// budget is what an upstream said of its limit.
func budget(b *meter.Budget, now time.Time) string {
	switch {
	case b == nil:
		return "none told"
	case b.Until.After(now):
		return "again in " + duration(b.Until.Sub(now))
	}
	return fmt.Sprintf("%d of %d left", b.Remaining, b.Limit)
}

// writeMoving is a line for each transfer.
func writeMoving(w io.Writer, s meter.Status) error {
	if len(s.Moving) == 0 {
		_, err := fmt.Fprintln(w, "\nNothing moves now.")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nMOVES\tREPOSITORY\tBLOB\tDONE\tFOR")
	for _, t := range s.Moving {
		name := t.Repository
		if t.Host != "" {
			name = t.Host + "/" + name
		}
		done := human(t.Done)
		if t.Total > 0 {
			done += " of " + human(t.Total)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", pipeline.OneLine(t.What), pipeline.OneLine(name), shortDigest(digest.Digest(t.Digest)), done, duration(s.Now.Sub(t.Since)))
	}
	return tw.Flush()
}

// duration is a time as people say it.
func duration(d time.Duration) string { return strings.ToLower(units.HumanDuration(max(d, 0))) }
