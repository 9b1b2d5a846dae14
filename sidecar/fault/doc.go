// Package fault has tests alone: what the proxy does when it is killed, when the
// registries around it break, when its disk is full, its clock wrong and its clients
// are out to harm it.
package fault
