// Package compare tells what two images have in common and where they differ: file
// by file, as a container would see them, and in what their configs say.
//
//	A, B ─▶ manifests, configs ─▶ which layers differ
//	layers that do ─▶ one pass each: a record for each entry ─▶ sorted, in a temporary file
//	records of all layers ─▶ merged by path, whiteouts applied ─▶ A │ B side by side ─▶ Changes
//
// A layer that both have is read once, from one of them; the layers at the bottom
// that both share are read only where what is above them does not say enough.
// Since everything is sorted on disk, memory does not grow with the images. Run is
// the way in. It prints nothing.
package compare
