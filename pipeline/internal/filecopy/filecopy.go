// Package filecopy lets the kernel copy from file to file: nothing passes through
// this process, and a file system that can shares the blocks instead (reflink).
package filecopy
