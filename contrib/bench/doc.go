// Command bench measures occystrap beside the tools that do the same job: crane,
// regctl and skopeo. All of them move one real image, in turn, in one run.
//
//	make bench                            # everything, about an hour
//	go run ./contrib/bench -quick         # a small image, once: does it work?
//	go run ./contrib/bench -only 'to tar' # some jobs
//	go run ./contrib/bench -list          # which jobs there are
//
// How it goes:
//
//	image (made once, cached) ─▶ fresh registry ─▶ job ─▶ contender ─▶ check
//	                                                └── n rounds, rotated ──┘
//	                                                       └─▶ table, RESULTS.md
//
// The image is a Debian with compilers, Java, Node and more in eight layers,
// 0.9 GB compressed: image/Dockerfile. Making it takes root, Docker 29 of
// contrib/testenv and some minutes, once; afterwards it is in .cache/image.
// -image takes any other OCI layout in its place, -quick a small image of its own.
//
// What is measured: a job has several contenders, occystrap first. In each round
// every contender runs once, in an order that rotates from round to round; the
// first round warms the page cache and does not count. Before a contender starts,
// what was written is on disk (sync) and the machine is idle, as far as it gets
// idle within -wait. Wall time, user and system time, and the peak of resident
// memory are those of the process and its children, by wait4; the time of the
// registry and of daemons is not in them. "others" in the table is the part of
// the machine that went to anything but the contender and the registry: a high
// figure means that the machine was busy and the wall time says little. A peak of
// memory begins at that of this program, about 12 MiB, as the kernel counts it.
//
// Code that is internal to pipeline (inflating, editing gzip in place, compressing
// on all cores) is measured beside the libraries that do the same: BenchmarkLayers
// of the package, as a test binary that makes one pass over all layers in a
// process of its own, with GOMAXPROCS as the job says. Reading the files is in
// that time. By hand:
//
//	OCCYSTRAP_BENCH_LAYERS=FILE:FILE go test -run NONE -bench Layers -cpu 1 ./pipeline/internal/deflate
//
// After every copy, outside the timing, the result is checked: every blob of an
// archive against the digests of the image, every blob and the digest of what
// lies in a registry, every entry of a layer whose times were to be changed. A
// wrong result ends the program; there is no figure for it.
//
// An output is deleted when it was checked, before the next sync: a few large
// files cost ext4 nothing, and left in the page cache they slow the next writer.
// The figures go to RESULTS.md after a complete run (no -only, no -quick), and
// always to .cache/results.json, run by run.
//
// The tools come from contrib/testenv (make testenv). Those that are missing are
// named, and the rest runs. -daemons adds the jobs from and to Docker and
// containerd, for root. Those whose names begin with "lanes" have daemons of their
// own (farm.go: two containerds, three Dockers, the sidecar), so that nothing else
// is in them and users who are not root reach their sockets. Every run of ours there
// must have taken the lane that the row is about, and what is on disk at most is
// counted (of the whole disk: others who write are in it). Several calls fill one
// table:
//
//	go run ./contrib/bench -daemons -merge -n 5 -only '^lanes.* to tar$'
//	go run ./contrib/bench -daemons -merge -n 3 -only '^lanes: tar'
package main
