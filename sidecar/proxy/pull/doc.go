// Package pull answers for images of other registries: it is the reading half of
// the proxy.
//
//	registry.Handler ─▶ Pull.Backend(host) ─▶ store ─▶ downstream ─▶ upstream
//	                                            ▲ flight: one fetch per blob, read
//	                                            └ by all clients while it arrives
//
// What is named by a digest is asked for once and kept. A tag is believed for a
// time (fresh.go), and longer while its registry cannot be asked. Where filters
// hold for a repository, a tag is what they make of it (make.go); a digest is its
// exact bytes or a refusal (judge.go), never a rewrite.
//
// Two kinds of spaces of the store are used for each upstream:
//
//	mirror/HOST[/LOGIN]      exact bytes of the upstream, and when tags were checked
//	made/HOST[/LOGIN]/RULE   what the filters of a rule made of tags
package pull
