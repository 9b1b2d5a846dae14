//go:build !race

package deflate_test

const raceDetector = false
