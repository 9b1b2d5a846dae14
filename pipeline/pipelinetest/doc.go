// Package pipelinetest builds images for tests and holds the fakes and
// conformance suites that every source and sink is tested with.
package pipelinetest
