// Package rules says what happens to the images of a repository on their way
// through the proxy.
//
//	repository ─▶ the first rule whose pattern matches, else that of all ─▶ fresh filters, policies
//
// Rules are read once, at the start: a mistake in one is an error then, which names
// the rule.
package rules
