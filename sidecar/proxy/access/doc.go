// Package access is the door of the proxy: who is let in, and what he may do.
//
//	connection ─▶ TLS ─▶ Guard.Wrap: method, Host, Origin, socket owner, login ─▶ Identity in the context
//	                                        route.Switch ─▶ Guard.Permit: may he do this to that target?
//
// The proxy holds credentials and pushes where its user may push, so that being on the
// same machine is not reason enough to be served: a page in a browser reaches
// loopback too, and so does every other user. What the requests are about is
// decided in package route, and what they are answered in push and pull.
package access
