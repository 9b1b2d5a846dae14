// Package meter knows what the proxy does: it counts, tells what is in motion, and
// writes the lines of the log. It decides nothing, and a nil *Meter counts nothing,
// so that no caller asks whether there is one.
//
//	client ─▶ Wrap (requests, bytes, transfers) ─▶ proxy ─▶ Transport (the same of either far end)
//	                              Hit, Miss, Image, Queue ◀─┘
//	/healthz /readyz /metrics /status ◀─ Handler
//
// No label holds a name that a client chose: repositories and digests stand in the
// log and in what is in motion, whose number is bounded by that of requests.
package meter
