//go:build race

package deflate_test

// raceDetector slows everything down tenfold: then tests do less of the same.
const raceDetector = true
