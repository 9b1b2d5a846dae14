// Package integration tests that real images get from every scheme into every
// other, with the daemons, the registry and the tools that contrib/testenv
// starts. Its tests have the build tag integration.
//
//	fixture, by a foreign tool ─▶ occystrap ─▶ checked by another foreign tool
//
// What goes in was loaded or built by docker, pushed by crane or packed by
// skopeo; what comes out is validated by crane, unpacked by skopeo, or run.
package integration
