package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// again runs the tests that failed once more, each alone, where these are few and
// failed by what they saw. One that passes then is unsteady: it is told as such, and
// fails nothing. Everything else stays a failure: a panic, a data race, time that ran
// out, what does not build, and more tests than most.
func (t *teller) again(ctx context.Context, args []string, log io.Writer, most int) error {
	tests := t.repeatable(most)
	for _, at := range tests {
		fmt.Fprintf(t.out, "%s: once more: %s %s\n", t.name, at.test, short(at.pkg))
		second := newTeller(t.name+", once more", t.out)
		if err := goTest(ctx, second, alone(args, at), log); err == nil && len(second.failures) == 0 {
			t.settle(at)
		} else {
			t.failures = append(t.failures, second.failures...)
		}
	}
	if len(t.failures) > 0 || len(tests) == 0 {
		return errFailed
	}
	return nil
}

// repeatable are the tests to run again; none if anything else failed too.
func (t *teller) repeatable(most int) (all []place) {
	for _, f := range t.failures {
		if f.at.test == "" {
			return nil
		}
		if !slices.Contains(all, f.at) {
			all = append(all, f.at)
		}
	}
	if len(all) > most {
		return nil
	}
	return all
}

// settle takes what failed of a test for unsteady.
func (t *teller) settle(at place) {
	t.failures = slices.DeleteFunc(t.failures, func(f failure) bool {
		if f.at == at {
			t.unsteady = append(t.unsteady, f)
		}
		return f.at == at
	})
}

// alone are the arguments of a run with one test in place of the packages, which come
// last.
func alone(args []string, at place) []string {
	for n, a := range args {
		if strings.HasPrefix(a, ".") {
			args = args[:n]
			break
		}
	}
	parts := strings.Split(at.test, "/")
	for n, p := range parts {
		parts[n] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return append(slices.Clone(args), "-count=1", "-run", strings.Join(parts, "/"), at.pkg)
}
