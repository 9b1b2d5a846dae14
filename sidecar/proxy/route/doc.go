// Package route says what a request to the proxy is about: an image that was pushed
// here, or one of another registry that is mirrored.
//
//	request ─▶ Table ─▶ Target{Pushed, repository} | Target{Mirrored, upstream, repository there}
//	              Switch: Permit ─▶ the registry.Handler of the target, which answers in the client's names
//
// The two are disjoint: no name that can be pushed is one that a mirror answers,
// and only registries that the settings list are mirrored. Who may ask is decided
// in package access, and what is answered in push and pull.
package route
