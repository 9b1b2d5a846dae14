package registry

// headSize is how much of a blob is looked at to tell what it is, in bytes.
const headSize = 512

// IsDocument tells a config, or other JSON, from a layer, by the first bytes of a blob
// whose manifest has not come. What it gets wrong the manifest puts right.
func IsDocument(head []byte) bool {
	for _, c := range head {
		switch c {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			return true
		default:
			return false
		}
	}
	return true // nothing but space
}
