// Package proxytest has what tests of the proxy share: a client that trusts nothing,
// a registry that can be broken, and a proxy that can be killed.
package proxytest
