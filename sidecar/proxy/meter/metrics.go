package meter

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// The names are listed in contrib/docs/reference.md.
var (
	descBuild     = desc("build_info", "1, with the version of the program.", "version")
	descRequests  = desc("requests_total", "Requests that were answered.", "endpoint", "method", "status")
	descSeconds   = desc("request_seconds", "Time to answer a request, with its body.", "endpoint")
	descInFlight  = desc("requests_in_flight", "Requests that are being answered.")
	descQueue     = desc("queue", "Images and layers that wait for their turn.")
	descMoving    = desc("transfers", "Blobs that move now.", "what")
	descBytes     = desc("bytes_total", "Bytes of bodies that moved at a side.", "side")
	descHits      = desc("hits_total", "Content that was answered without its upstream.", "kind")
	descMisses    = desc("misses_total", "Content that was fetched from its upstream.", "kind")
	descSaved     = desc("saved_bytes_total", "Bytes that did not have to move.")
	descImages    = desc("images_total", "Images that were pushed or pulled through.", "what", "result")
	descAsked     = desc("host_requests_total", "Requests to a far end.", "host", "side")
	descErrors    = desc("host_errors_total", "Failures of a far end.", "host", "side", "reason")
	descLimit     = desc("host_budget_limit", "Requests that an upstream allows in its window.", "host")
	descRemaining = desc("host_budget_remaining", "Requests that are left of it.", "host")
	descUntil     = desc("host_retry_seconds", "Seconds until an upstream may be asked again.", "host")
	descStore     = desc("store_bytes", "Bytes of the store on the disk.")
	descHigh      = desc("store_high_bytes", "Above so many bytes the store is tidied.")
	descStored    = desc("store_images", "Images that the store keeps.")
	descPinned    = desc("store_pinned", "Images that are never evicted.")
	descReady     = desc("ready", "Whether /readyz says yes.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("occystrap_proxy_"+name, help, labels, nil)
}

// registry is what /metrics shows: ours, and what the runtime and the kernel say.
func (m *Meter) registry() *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector{m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// A collector reads the Meter when Prometheus asks: nothing is kept twice.
type collector struct{ m *Meter }

var _ prometheus.Collector = collector{}

// Describe implements prometheus.Collector. Series come and go: it is unchecked
// but by Collect.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descRequests, descSeconds, descInFlight, descQueue, descMoving, descBytes, descHits, descMisses,
		descSaved, descImages, descAsked, descErrors, descLimit, descRemaining, descUntil, descStore, descHigh, descStored, descPinned, descReady,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), storeAge)
	defer cancel()
	s := c.m.Status(ctx)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(descBuild, 1, s.Version)
	gauge(descInFlight, float64(s.InFlight))
	gauge(descQueue, float64(s.Queue))
	gauge(descReady, truth(s.NotReady == ""))
	c.m.requests.each(func(k requestKey, n int64) {
		count(descRequests, n, string(k.end), k.method, strconv.Itoa(k.status))
	})
	c.m.requests.times.Range(func(end, h any) bool {
		out <- h.(*histogram).metric(string(end.(Endpoint))) //nolint:forcetypeassert // nothing else is stored
		return true
	})
	moving := map[string]int{}
	for _, t := range s.Moving {
		moving[t.What]++
	}
	for what, n := range moving {
		gauge(descMoving, float64(n), what)
	}
	for side, n := range s.Bytes {
		count(descBytes, n, string(side))
	}
	for _, k := range kinds {
		count(descHits, s.Hits[k], string(k))
		count(descMisses, s.Misses[k], string(k))
	}
	count(descSaved, s.Saved)
	count(descImages, s.Images.Pushed, "push", "ok")
	count(descImages, s.Images.PushFailed, "push", "failed")
	count(descImages, s.Images.Pulled, "pull", "ok")
	count(descImages, s.Images.PullFailed, "pull", "failed")
	if s.Store != nil {
		gauge(descStore, float64(s.Store.Bytes))
		gauge(descHigh, float64(s.Store.High))
		gauge(descStored, float64(s.Store.Images))
		gauge(descPinned, float64(s.Store.Pinned))
	}
	collectHosts(s, gauge, count)
}

// collectHosts tells of the far ends.
func collectHosts(s Status, gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, int64, ...string)) {
	for _, h := range s.Hosts {
		side := "upstream"
		if h.Downstream {
			side = "downstream"
		}
		count(descAsked, h.Requests, h.Host, side)
		for reason, n := range h.Errors {
			count(descErrors, n, h.Host, side, reason)
		}
		if b := h.Budget; b != nil {
			gauge(descLimit, float64(b.Limit), h.Host)
			gauge(descRemaining, float64(b.Remaining), h.Host)
			gauge(descUntil, max(0, b.Until.Sub(s.Now).Seconds()), h.Host)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metric is the histogram as Prometheus has it: counts that add up.
func (h *histogram) metric(end string) prometheus.Metric {
	buckets := map[float64]uint64{}
	var sum uint64
	for i, b := range bounds {
		sum += h.counts[i].Load()
		buckets[b] = sum
	}
	sum += h.counts[len(bounds)].Load()
	return prometheus.MustNewConstHistogram(descSeconds, sum, time.Duration(h.nanos.Load()).Seconds(), buckets, end)
}
