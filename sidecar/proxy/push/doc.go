// Package push takes pushes and sends them on through filters.
//
//	blob     ─▶ staging ─▶ and while it arrives: pipeline.Early ─▶ keeper
//	manifest ─▶ pipeline.Run(staging, filters, keeper) ─▶ 201, with the digest that came
//	                                                      and Occystrap-Digest, the one that is kept
//
// What a client is told is there, is kept: a manifest is answered when all of it is
// downstream. A manifest that is put by its digest alone is sent on at once, too,
// since nobody knows whether an index will list it; the index then finds that all of
// it is there. Attestations of BuildKit's are the exception: they say something only
// within their index, and wait for it in staging where a rule may have to leave them
// out.
//
// Staging is read where a client asks by digest for what it has just pushed; all else
// is answered by what is kept.
package push
