// Package content moves images out of and into containerd: those of ctr and
// nerdctl, of Kubernetes (namespace k8s.io) and of Docker (namespace moby).
//
//	containerd://NAME ─▶ image ─▶ lease ─▶ blobs, by file or by API ─▶ Graph
//	Layers ─▶ ingest, under a lease ─▶ manifests with GC labels ─▶ unpack ─▶ image
//
// What a run reads or writes is under a lease, so that nothing is collected
// meanwhile; a lease that a killed run left is removed by the next one. Choosing
// platforms and judging manifests is the business of pipeline.Resolve.
package content
