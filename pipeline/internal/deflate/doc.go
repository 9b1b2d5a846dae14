// Package deflate reads gzip streams fast, and edits them without compressing
// them again.
//
//	gzip ─▶ Reader ─▶ plain bytes
//
//	gzip ─▶ inflate ─▶ plain bytes ─▶ Patcher: what to replace
//	  └───────▶ Transcode: the old bits, but where a token no longer holds ─▶ gzip
//
// A deflate stream (RFC 1951) is a list of tokens: literal bytes, and matches
// that repeat earlier bytes. Replacing a few plain bytes changes only the tokens
// that made them and the matches that read them; all others, and the headers of
// the blocks they stand in, are copied as they are. What the bytes mean (a tar)
// is the business of the Patcher; contrib/docs/transcoding.md explains the
// method.
//
// Memory is bounded whatever the input: a buffer for each side and the tokens of
// one open region. Nothing here trusts its input; what is not valid is an error
// that says where.
package deflate
