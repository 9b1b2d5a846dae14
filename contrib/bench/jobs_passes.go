package main

// The figures that are wanted of what is internal to pipeline.
const (
	inflateFactor   = 2.2   // times faster than klauspost/compress, one core
	safeFactor      = 1.3   // the same, without unsafe
	transcodeFactor = 4.5   // times faster than compressing anew, one core
	transcodeShare  = 0.001 // that sizes may differ from the input's
	parallelFactor  = 1.8   // times faster than one stream, two cores
	parallelShare   = 0.02  // that sizes may differ from one stream's
)

// The packages that hold the benchmarks.
const (
	deflatePackage = "./pipeline/internal/deflate"
	pgzipPackage   = "./pipeline/internal/pgzip"
)

// slowRounds is how often jobs run whose peers take half a minute or more.
const slowRounds = 3

const passesNote = "Each run is a process that makes one pass over all layers, one after another; reading the files from the page cache is in its time, and is the same for all." //nolint:gosec // no secret: a sentence

// inflateJob reads all layers and keeps nothing.
func (b *bench) inflateJob() job {
	const klauspost, safe = "klauspost/compress", "occystrap without unsafe"
	return b.passes(job{
		name:  "inflate, one core",
		note:  passesNote + " Checksums are verified, nothing is hashed. Without unsafe: built with -tags purego.",
		wants: []want{timesFaster(klauspost, inflateFactor), between(safe, klauspost, safeFactor)},
	},
		passing{name: ours, pkg: deflatePackage, bench: "Reader", cores: 1},
		passing{name: safe, pkg: deflatePackage, tags: "purego", bench: "Reader", cores: 1},
		passing{name: klauspost, pkg: deflatePackage, bench: "klauspost", cores: 1},
		passing{name: "Go's library", pkg: deflatePackage, bench: "library", cores: 1},
	)
}

// transcodeJob sets the times of all entries.
func (b *bench) transcodeJob() job {
	const anew = "inflate, rewrite, compress at level 6"
	return b.passes(job{
		name: "set all times in gzip layers, one core", most: slowRounds,
		note: passesNote + " All contenders work out the digests of the old and the new tar and of the new layer, and come to the same two tars. " +
			"The other one inflates and compresses with klauspost/compress, and has occystrap's own tar reader and writer between.",
		wants: []want{timesFaster(anew, transcodeFactor), asSmallAs(b.checker.image.size(), transcodeShare)},
	},
		passing{name: ours, pkg: deflatePackage, bench: "Transcode", cores: 1},
		passing{name: "occystrap, two cores", pkg: deflatePackage, bench: "Transcode", cores: 2},
		passing{name: anew, pkg: deflatePackage, bench: "recompress", cores: 1},
	)
}

// parallelJob compresses all layers.
func (b *bench) parallelJob() job {
	const one = "klauspost/compress, one stream"
	return b.passes(job{
		name: "compress at level 6, two cores", most: slowRounds,
		note:  passesNote + " The files are plain tars.",
		wants: []want{timesFaster(one, parallelFactor), asSmallAsOf(one, parallelShare)},
	},
		passing{name: ours, pkg: pgzipPackage, bench: "Writer", cores: 2, plain: true},
		passing{name: one, pkg: pgzipPackage, bench: "OneStream", cores: 2, plain: true},
	)
}
