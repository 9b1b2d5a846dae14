// Package wire is what goes over the sidecar's control socket, for both ends.
//
//	client                                   sidecar
//	hello {oldest, newest}             ─▶
//	                                   ◀─    {version, engines}
//	blob {engine, namespace, image, blob} ─▶
//	                                   ◀─    {size} + a descriptor
//	layer {engine, image, diff_id}    ─▶
//	                                   ◀─    {} + the end of a pipe
//	                                   ◀─    {done}, when all is in the pipe
//
// A message is one JSON object in one packet (SOCK_SEQPACKET), so there are no
// halves of messages and a descriptor belongs to its packet. One request is
// answered before the next one is sent; who wants several at once connects
// several times. Fields that an end does not know it passes over: that is how
// versions N and N-1 understand each other.
package wire
