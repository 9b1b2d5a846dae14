package rules

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// maxSentence bounds what a client is told, in bytes: it prints it on one line.
const maxSentence = 1000

// Denied is the answer to a client whose image a filter refuses, as an error of a run
// has it: one sentence, which clients print. Nil: the error is about something else.
func Denied(err error) *registry.Error {
	var told []string
	refusals(err, &told)
	if told == nil {
		return nil
	}
	s := strings.Join(told, "; ")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxSentence {
		s = strings.ToValidUTF8(s[:maxSentence], "") + "…"
	}
	return &registry.Error{Code: registry.Denied, Message: s}
}

// refusals collects what filters said: several layers can be refused at once.
func refusals(err error, told *[]string) {
	var refused *pipeline.RefusedError
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case nil:
	case *pipeline.RefusedError:
		if !slices.Contains(*told, e.Error()) {
			*told = append(*told, e.Error())
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			refusals(inner, told)
		}
	default:
		if errors.As(err, &refused) {
			refusals(errors.Unwrap(err), told)
		}
	}
}
