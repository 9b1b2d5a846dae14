package main

import (
	"slices"
	"testing"
	"time"
)

func TestEnvironmentTellsValuesAndReasons(t *testing.T) {
	t.Parallel()
	e := parseTestEnv("# made by up.sh\nOCCYSTRAP_TEST_CRANE=/x/crane\nOTHER=1\nOCCYSTRAP_TEST_EMPTY=\nOCCYSTRAP_TEST_MISSING_SKOPEO=no_apt-get_here\n")
	if got := e.values["CRANE"]; got != "/x/crane" {
		t.Errorf("CRANE is %q", got)
	}
	if len(e.values) != 1 {
		t.Errorf("values are %v, want CRANE only", e.values)
	}
	if got, want := e.why("SKOPEO"), "no apt-get here"; got != want {
		t.Errorf("SKOPEO is missing because of %q, want %q", got, want)
	}
	if e.why("REGCTL") == "" {
		t.Error("there is no remedy for a tool that nobody mentions")
	}
}

func TestBusyTimeLeavesOutIdleAndGuest(t *testing.T) {
	t.Parallel()
	// cpu user nice system idle iowait irq softirq steal guest guest_nice
	const stat = "cpu  100 10 50 9999 777 5 4 1 60 6\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
	if got, want := parseBusy(stat), 170*tick; got != want {
		t.Errorf("busy for %v, want %v", got, want)
	}
	if got := parseBusy(""); got != 0 {
		t.Errorf("busy for %v without a file", got)
	}
}

func TestProcessTimeIsReadBehindAnyName(t *testing.T) {
	t.Parallel()
	for name, stat := range map[string]string{
		"plain":       "42 (registry) S 1 42 42 0 -1 4194304 100 0 0 0 7 3 0 0 20 0 9 0 1 2 3",
		"with spaces": "42 (a) 1 (b c) S 1 42 42 0 -1 4194304 100 0 0 0 7 3 0 0 20 0 9 0 1 2 3",
	} {
		if got, want := parseProcess(stat), 10*tick; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := parseProcess(""); got != time.Duration(0) {
		t.Errorf("a process that is gone took %v", got)
	}
}

func TestProxiesOfAptBecomeVariables(t *testing.T) {
	t.Parallel()
	const settings = "Acquire::http::Proxy \"http://proxy.test:3128\";\nAcquire::https::Proxy \"DIRECT\";\nAcquire::http::Proxy::mirror.test \"http://other.test\";\n"
	if got, want := proxies(settings), []string{"http_proxy=http://proxy.test:3128"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOptionsThatContradictAreRefused(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no rounds":           {"-n", "0"},
		"broken expression":   {"-only", "("},
		"a stray argument":    {"registry to tar"},
		"quick and an image":  {"-quick", "-image", "x"},
		"an unknown flag":     {"-fast"},
		"a wait without unit": {"-wait", "5"},
	} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%s: %q is accepted", name, args)
		}
	}
}

func TestOnlyACompleteRunWritesResults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want bool
	}{
		{nil, true},
		{[]string{"-daemons", "-n", "9"}, true},
		{[]string{"-quick"}, false},
		{[]string{"-only", "tar"}, false},
		{[]string{"-image", "dir"}, false},
	} {
		o, err := parseOptions(tc.args)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.complete(); got != tc.want {
			t.Errorf("%q: complete is %t", tc.args, got)
		}
	}
}
