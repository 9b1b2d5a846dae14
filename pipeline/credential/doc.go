// Package credential finds the login for a registry: among flags, files,
// Docker's and containers' configurations and their helpers.
//
//	Chain ─▶ Static · Environment · Docker · Containers · Systemd · Netrc ─▶ Credential
//
// It is the only package that handles secrets as such. A Secret prints as ***
// wherever it is printed; Reveal is the one way to its text. Who may be sent a
// credential is decided by who talks to the registry (package remote).
package credential
