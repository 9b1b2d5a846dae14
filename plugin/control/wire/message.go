package wire

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Versions of the protocol. An end speaks its newest and the one before it;
// hello settles on the newest that both speak.
const (
	// Newest brought OpImage and OpLayer.
	Newest = 2
	// Oldest has OpHello and OpBlob.
	Oldest = 1
)

// DefaultSocket is where the sidecar listens unless somebody says otherwise.
const DefaultSocket = "/run/occystrap/control.sock"

// What a client may ask for.
const (
	// OpHello is the first request of every connection.
	OpHello = "hello"
	// OpBlob asks for a read-only descriptor of a blob that an image reaches.
	OpBlob = "blob"
	// OpImage asks for what an image of a graph driver is: an Image, by a pipe.
	OpImage = "image"
	// OpLayer asks for a layer of an image of a graph driver, as a plain tar, by
	// a pipe.
	OpLayer = "layer"
)

// A Request is what a client sends. It names things by digest and by the names
// that hello gave: there is no path in it.
type Request struct {
	Op string `json:"op"`

	// Oldest and Newest are the versions that the client speaks (OpHello).
	Oldest int `json:"oldest,omitempty"`
	Newest int `json:"newest,omitempty"`

	// Engine is one of those of hello.
	Engine string `json:"engine,omitempty"`
	// Namespace is containerd's (OpBlob).
	Namespace string `json:"namespace,omitempty"`
	// Image is the digest that an image's name leads to: of an index or manifest
	// (OpBlob), of a config (OpImage, OpLayer).
	Image digest.Digest `json:"image,omitempty"`
	// Blob is one that the image reaches, itself included (OpBlob).
	Blob digest.Digest `json:"blob,omitempty"`
	// DiffID is of one of the image's layers (OpLayer).
	DiffID digest.Digest `json:"diff_id,omitempty"`
}

// An Answer is what the sidecar sends.
type Answer struct {
	// Version is the one to go on with (OpHello).
	Version int `json:"version,omitempty"`
	// Program is the sidecar's own version, for people (OpHello).
	Program string `json:"program,omitempty"`
	// Engines are what the sidecar may read (OpHello).
	Engines []Engine `json:"engines,omitempty"`
	// Size is that of the blob, in bytes.
	Size int64 `json:"size,omitempty"`
	// Done comes after a stream: all of it is in the pipe, and was what it should
	// be. Without it the end of the pipe means nothing.
	Done bool `json:"done,omitempty"`
	// Error is set where there is nothing to give; also after a stream broke.
	Error *Error `json:"error,omitempty"`
}

// An Image is what a graph driver has under an ID.
type Image struct {
	// Config is the image's config, byte for byte.
	Config []byte `json:"config"`
	// Layers are the image's, the lowest first.
	Layers []Layer `json:"layers"`
}

// A Layer is one of an Image.
type Layer struct {
	DiffID digest.Digest `json:"diff_id"`
	// Size is that of the plain tar, in bytes.
	Size int64 `json:"size"`
}

// Kinds of engines.
const (
	// Containerd stores images in containerd, Docker's newer image store too.
	Containerd = "containerd"
	// Docker stores images with a graph driver.
	Docker = "docker"
)

// An Engine is a place whose images the sidecar reads.
type Engine struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Root is the engine's own folder, as the engine tells it to its clients. To
	// the client it is a name: it cannot ask for another.
	Root string `json:"root"`
	// Namespaces of containerd that may be asked for.
	Namespaces []string `json:"namespaces,omitempty"`
}

// A Code says what a client should make of an error.
type Code string

// Codes of errors. A client takes one that it does not know for Failed.
const (
	// Denied: this user may not, or not this namespace.
	Denied Code = "denied"
	// NotFound: there is no such image, or it does not reach that.
	NotFound Code = "not-found"
	// Unsupported: the request is of a newer version, or this engine has no such
	// thing.
	Unsupported Code = "unsupported"
	// Busy: too many connections; try again later.
	Busy Code = "busy"
	// Malformed: the message made no sense. The connection is closed.
	Malformed Code = "malformed"
	// Failed: the sidecar could not read it.
	Failed Code = "failed"
)

// An Error is why there is no answer.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error is the sidecar's own sentence.
func (e *Error) Error() string { return e.Message }

// Errorf makes an error of a code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
