package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
	"github.com/occystrap/occystrap/pipeline/internal/zstdframe"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// edits says whether a changed layer of this encoding is edited in its
// compressed form.
func (t *transfer) edits(came Compression, enc Encoding) bool {
	return t.mode == RecompressTranscode && enc.Compression == came && (came == Gzip || came == Zstd)
}

// edit changes a layer in its compressed form: what no filter changes is copied
// as it is stored. A layer that comes out unchanged is the layer that came. One
// that cannot be edited so is compressed anew, from a second opening.
func (t *transfer) edit(ctx context.Context, r io.Reader, enc Encoding) error {
	pass := &passThrough{t: t, ctx: ctx, fresh: true}
	defer pass.Close()
	out, err := t.transcode(ctx, pass, r, enc)
	if why := mustRewrite(err); why != "" {
		t.why = why
		return t.instead(ctx, pass, enc, out.changed)
	}
	if err != nil {
		return t.orAsItCame(ctx, err)
	}
	if err := t.checkDiffID(out.oldDiffID); err != nil {
		return err
	}
	if !out.changed {
		return t.commitAsItCame(ctx, pass.w, out.oldDiffID)
	}
	if err := pass.w.Commit(ctx, out.blob, out.diffID); err != nil {
		return on(SinkSide, err)
	}
	t.out.How, t.out.plain = HowTranscoded, out.plain
	if t.out.Why = out.anew; out.anew != "" {
		t.out.How = HowRewritten
	}
	t.out.Result, t.out.ResultDiffID, t.out.compression = out.blob, out.diffID, enc.Compression
	return nil
}

// instead goes the ordinary way with a layer that could not be edited: it is
// scanned, unless it is known to change, and compressed anew if it changes.
func (t *transfer) instead(ctx context.Context, pass *passThrough, enc Encoding, changed bool) error {
	if err := pass.Close(); err != nil {
		return on(SinkSide, err)
	}
	raw, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	if !changed {
		return t.scanAgain(ctx, raw, enc)
	}
	return t.orAsItCame(ctx, t.rewrite(ctx, raw, enc))
}

// scanAgain is scan from the start of the layer.
func (t *transfer) scanAgain(ctx context.Context, raw io.Reader, enc Encoding) error {
	chain, err := t.build(ctx, &tarstream.Detector{})
	if err != nil {
		return err
	}
	head := newRewinder(raw)
	if _, err := head.sniff(); err != nil {
		return err
	}
	return t.scan(ctx, head, chain, enc, false)
}

// mustRewrite says why a layer cannot be edited; "" where that is not what the
// error is about.
func mustRewrite(err error) string {
	var side *Error
	if errors.As(err, &side) {
		err = side.Err
	}
	for _, target := range []error{
		deflate.ErrFallback, zstdframe.ErrFallback, tarstream.ErrNeedsContent,
		deflate.ErrPatcher, zstdframe.ErrPatcher, // a tar that is cut: who reads it whole says where
	} {
		if errors.Is(err, target) {
			return err.Error()
		}
	}
	return ""
}

// An edited layer is what transcode made.
type edited struct {
	oldDiffID, diffID digest.Digest
	blob              ocispec.Descriptor
	plain             int64 // bytes of the new tar
	changed           bool
	anew              string // why all of it was compressed anew all the same
}

// transcode runs the filters over the compressed stream r.
func (t *transfer) transcode(ctx context.Context, w io.Writer, r io.Reader, enc Encoding) (out edited, err error) {
	editor, err := tarstream.NewEditor(t.run.limits.Entries, func(end tarstream.Handler) (tarstream.Handler, error) {
		return t.build(ctx, end)
	})
	if err != nil {
		return out, err
	}
	defer editor.Close()
	if enc.Compression == Zstd {
		out, err = t.transcodeZstd(w, r, &patcher{editor}, enc)
	} else {
		out, err = t.transcodeGzip(w, r, &patcher{editor})
	}
	out.changed = out.changed || editor.Changed()
	switch {
	case errors.Is(err, deflate.ErrLimit), errors.Is(err, zstdframe.ErrLimit):
		err = tooLarge(t.run.limits.Layer)
	case err != nil && mustRewrite(err) == "":
		err = on(SourceSide, err) // unless a reader, a writer or the filters marked it
	}
	return out, err
}

// patcher shows a tar's headers to the filters; what goes wrong there is marked
// as Read's errors are.
type patcher struct{ *tarstream.Editor }

func (p *patcher) Patch(region []byte, replace func(off, old int64, with []byte) error) error {
	return readError(p.Editor.Patch(region, replace))
}

func (t *transfer) transcodeGzip(w io.Writer, r io.Reader, p *patcher) (out edited, err error) {
	res, err := deflate.Transcode(w, r, p, deflate.Options{Limit: t.run.limits.Layer})
	if err != nil {
		return out, err
	}
	return edited{
		oldDiffID: digest.NewDigestFromBytes(digest.SHA256, res.Old.Digest[:]),
		diffID:    digest.NewDigestFromBytes(digest.SHA256, res.New.Digest[:]),
		blob:      ocispec.Descriptor{Digest: digest.NewDigestFromBytes(digest.SHA256, res.Digest[:]), Size: res.Size},
		plain:     res.New.Size, changed: res.Changed,
	}, nil
}

func (t *transfer) transcodeZstd(w io.Writer, r io.Reader, p *patcher, enc Encoding) (out edited, err error) {
	stored, was, is := sha256.New(), sha256.New(), sha256.New()
	res, err := zstdframe.Transcode(io.MultiWriter(w, stored), r, p, zstdframe.Options{
		Level: enc.Level, Limit: t.run.limits.Layer, OldHash: was, NewHash: is,
	})
	if err != nil {
		return out, err
	}
	out = edited{
		oldDiffID: digest.NewDigest(digest.SHA256, was), diffID: digest.NewDigest(digest.SHA256, is),
		blob:  ocispec.Descriptor{Digest: digest.NewDigest(digest.SHA256, stored), Size: res.Stored},
		plain: res.NewPlain, changed: res.Changed,
	}
	if res.Changed && res.Copied == 0 && res.Recompressed > 0 {
		out.anew = "no zstd frame of it stays as it is"
	}
	return out, nil
}
