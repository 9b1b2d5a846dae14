// Package remote is the client half of the registry protocol: the source and
// the sink of registry:// (OCI distribution-spec 1.1, Docker Registry v2).
//
//	Scheme ─▶ Source ─▶ manifests, blobs ─┐              ┌─ authorizer (Bearer, Basic)
//	       └▶ Sink ─▶ Plan, uploads, tags ┴─▶ client.do ─┼─ retries, redirects
//	                                                     └─ gate, rate limit, TLS
//
// Every byte that a registry sends is checked against the digest that it was
// asked for. Logins go to the registry's own host, and to the token server that
// this host names if the two belong together; redirects carry none. The server
// half of the protocol is package pipeline/registry.
package remote
