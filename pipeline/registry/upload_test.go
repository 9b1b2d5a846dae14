package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

const uploads = "/v2/team/app/blobs/uploads/"

// ways are all in which the specification lets a blob be pushed. Each returns the
// last answer.
var ways = map[string]func(w world, query, content string, d digest.Digest) answer{
	"POST then PUT": func(w world, query, content string, d digest.Digest) answer {
		return w.ask("PUT", with(w.start(query), "digest="+d.String()), content)
	},
	"single POST": func(w world, _, content string, d digest.Digest) answer {
		return w.ask("POST", uploads+"?digest="+d.String(), content)
	},
	"streamed PATCH": func(w world, query, content string, d digest.Digest) answer {
		r := httptest.NewRequestWithContext(w.t.Context(), "PATCH", w.start(query), io.MultiReader(strings.NewReader(content)))
		r.ContentLength = -1
		return w.ask("PUT", with(w.send(r).want(202, "").location(), "digest="+d.String()), "")
	},
	"chunks": func(w world, query, content string, d digest.Digest) answer {
		return w.ask("PUT", with(w.chunks(w.start(query), content, 0, len(content)), "digest="+d.String()), "")
	},
	"chunks, the last by PUT": func(w world, query, content string, d digest.Digest) answer {
		half := len(content) / 2
		at := w.chunks(w.start(query), content, 0, half)
		return w.ask("PUT", with(at, "digest="+d.String()), content[half:], "Content-Range", fmt.Sprintf("%d-%d", half, len(content)-1))
	},
}

func (w world) start(query string) string {
	return w.ask("POST", uploads+query, "").want(202, "").header("Range", "0-0").location()
}

// chunks sends content from one offset to another in chunks, and returns where to
// go on.
func (w world) chunks(at, content string, from, to int) string {
	w.t.Helper()
	for size := 1000; from < to; from += size {
		end := min(from+size, to)
		a := w.ask("PATCH", at, content[from:end], "Content-Range", fmt.Sprintf("%d-%d", from, end-1))
		at = a.want(202, "").header("Range", fmt.Sprintf("0-%d", end-1)).location()
	}
	return at
}

func TestBlobIsPushedInEachWay(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789", 400)
	for name, push := range ways {
		for algorithm, query := range map[digest.Algorithm]string{
			digest.SHA256: "", digest.SHA512: "?digest-algorithm=sha512", "sha512, said at the end": "",
		} {
			t.Run(name+" "+algorithm.String(), func(t *testing.T) {
				t.Parallel()
				w := memory(t)
				a, _, _ := strings.Cut(algorithm.String(), ",")
				d := digest.Algorithm(a).FromString(content)
				push(w, query, content, d).want(201, "").header("Location", "/v2/team/app/blobs/"+d.String()).header("Docker-Content-Digest", d.String())
				w.wantBlob(d, content)
			})
		}
	}
}

func TestBytesOfAnotherDigestAreNeverSeen(t *testing.T) {
	t.Parallel()
	for name, push := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := memory(t)
			promised, content := digest.FromString("promised"), strings.Repeat("something else", 200)
			push(w, "", content, promised).want(400, registry.DigestInvalid)
			w.wantBlob(promised, "")
			w.wantBlob(digest.FromString(content), "")
		})
	}
}

func TestUploadOfAnotherDigestIsOver(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.begin()
	w.ask("PUT", with(at, "digest="+digest.FromString("promised").String()), "else").want(400, registry.DigestInvalid)
	w.ask("GET", at, "").want(404, registry.BlobUploadUnknown)
}

func TestChunkOutOfOrderIsRefused(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.begin()
	w.ask("PATCH", at, "later", "Content-Range", "5-9").want(416, registry.BlobUploadInvalid)
	at = w.ask("PATCH", at, "first", "Content-Range", "0-4").want(202, "").location()
	for _, again := range []string{"0-4", "4-8", "6-10"} {
		w.ask("PATCH", at, "first", "Content-Range", again).want(416, registry.BlobUploadInvalid).header("Range", "0-4").header("Location", at)
		w.ask("PUT", with(at, "digest="+digest.FromString("first").String()), "first", "Content-Range", again).want(416, registry.BlobUploadInvalid)
	}
	w.ask("GET", at, "").want(204, "").header("Range", "0-4").header("Location", at)
	d := digest.FromString("first second")
	w.ask("PUT", with(at, "digest="+d.String()), " second", "Content-Range", "5-11").want(201, "")
	w.wantBlob(d, "first second")
}

func TestChunkHasTheLengthThatItSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field  string
		length int64
		status int
		code   registry.Code
		size   string
	}{
		{"0-9", 5, 400, registry.SizeInvalid, "0-0"},
		{"0-9", -1, 400, registry.SizeInvalid, "0-4"}, // what came stays
		{"0-2", -1, 400, registry.SizeInvalid, "0-2"}, // what was not announced does not
		{"0-4", -1, 202, "", "0-4"},
		{"bytes 0-4/5", 5, 400, registry.BlobUploadInvalid, "0-0"},
		{"4-0", 5, 400, registry.BlobUploadInvalid, "0-0"},
		{"0-99999999999999999999", 5, 400, registry.BlobUploadInvalid, "0-0"},
		{"-1-4", 5, 400, registry.BlobUploadInvalid, "0-0"},
	} {
		t.Run(c.field, func(t *testing.T) {
			t.Parallel()
			w := memory(t)
			at := w.begin()
			r := httptest.NewRequestWithContext(t.Context(), "PATCH", at, strings.NewReader("12345"))
			r.ContentLength = c.length
			r.Header.Set("Content-Range", c.field)
			w.send(r).want(c.status, c.code)
			w.ask("GET", at, "").want(204, "").header("Range", c.size)
		})
	}
}

func TestUploadGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	backend := pipelinetest.NewRegistry().Backend()
	before, after := over(t, backend), over(t, backend)
	at := before.ask("PATCH", before.begin(), "first ").want(202, "").location()
	at = after.ask("PATCH", at, "second ").want(202, "").location()
	d := digest.FromString("first second third")
	after.ask("PUT", with(at, "digest="+d.String()), "third").want(201, "")
	after.wantBlob(d, "first second third")
}

// The hash states of many uploads do not pile up; each upload still ends well.
func TestManyUploadsAtOnce(t *testing.T) {
	t.Parallel()
	w := memory(t)
	first := w.ask("PATCH", w.begin(), "first ").location()
	for range 5000 {
		w.ask("PATCH", w.begin(), "x")
	}
	d := digest.FromString("first last")
	w.ask("PUT", with(first, "digest="+d.String()), "last").want(201, "")
	w.wantBlob(d, "first last")
}

func TestCancelledUploadIsGone(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.ask("PATCH", w.begin(), "x").location()
	w.ask("DELETE", at, "").want(204, "")
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		w.ask(method, at, "").want(404, registry.BlobUploadUnknown)
	}
	w.ask("PUT", with(at, "digest="+digest.FromString("x").String()), "").want(404, registry.BlobUploadUnknown)
}

func TestUploadBelongsToItsRepository(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := strings.Replace(w.begin(), "team/app", "other", 1)
	w.ask("PATCH", at, "x").want(404, registry.BlobUploadUnknown)
}

func TestPutNeedsADigest(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.begin()
	w.ask("PUT", at, "x").want(400, registry.DigestInvalid)
	w.ask("PUT", with(at, "digest=md5:1"), "x").want(400, registry.DigestInvalid)
	w.ask("GET", at, "").want(204, "")
}

// writing starts a PATCH whose body begins with "first ", and is fed by the test.
func (w world) writing(at string) (feed *io.PipeWriter, done chan answer) {
	w.t.Helper()
	body, feed := io.Pipe()
	done = make(chan answer, 1)
	go func() {
		a := w.send(httptest.NewRequestWithContext(w.t.Context(), "PATCH", at, body))
		_ = body.Close() // frees a writer of what was not read any more
		done <- a
	}()
	if _, err := io.WriteString(feed, "first "); err != nil { // which returns when it was read
		w.t.Fatal(err)
	}
	return feed, done
}

// While one request's body moves, others are answered: no lock is held.
func TestOneRequestWritesAtATime(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.begin()
	feed, done := w.writing(at)
	w.ask("PATCH", at, "other").want(409, registry.BlobUploadInvalid)
	w.ask("PUT", with(at, "digest="+digest.FromString("").String()), "").want(409, registry.BlobUploadInvalid)
	w.ask("GET", at, "").want(204, "")
	w.push("team/app", "another blob")
	_, _ = io.WriteString(feed, "last")
	_ = feed.Close()
	d := digest.FromString("first last")
	w.ask("PUT", with((<-done).want(202, "").location(), "digest="+d.String()), "").want(201, "")
	w.wantBlob(d, "first last")
}

func TestCancelEndsARequestThatWrites(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.begin()
	feed, done := w.writing(at)
	w.ask("DELETE", at, "").want(204, "")
	go func() { _, _ = io.WriteString(feed, "more"); _ = feed.Close() }()
	(<-done).want(404, registry.BlobUploadUnknown)
}

func TestMountSavesTheUpload(t *testing.T) {
	t.Parallel()
	w := memory(t)
	blob := w.push("other/place", "shared").Digest
	for _, c := range []struct {
		query  string
		status int
	}{
		{"&from=nowhere", http.StatusAccepted},
		{"&from=UPPER", http.StatusAccepted},
		{"&from=other/place", http.StatusCreated},
		{"", http.StatusCreated},
	} {
		a := w.ask("POST", uploads+"?mount="+blob.String()+c.query, "").want(c.status, "")
		if c.status == http.StatusAccepted {
			w.wantBlob(blob, "")
			continue
		}
		a.header("Location", "/v2/team/app/blobs/"+blob.String()).header("Docker-Content-Digest", blob.String())
		w.wantBlob(blob, "shared")
	}
}
