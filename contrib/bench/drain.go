package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// drainName is the first argument that makes this program a client that pulls and
// keeps nothing: neither a disk nor a hash is in between, so what is measured is the
// registry. It is the same for all that are compared.
const drainName = "drain"

const (
	// drainAtOnce is how many blobs a client fetches at a time: between docker's 3
	// and more that others have.
	drainAtOnce = 4
	drainBuffer = 256 << 10
)

// clientTold is what a client of ours prints of its run.
type clientTold struct {
	First time.Duration // until the first byte of a layer
	Rate  float64       // requests a second
	P99   time.Duration
}

// drainMain pulls: "drain HOST NAME TAG CLIENTS MOST QUERY" has that many clients at
// once pull the image's config and its layers of at most MOST bytes (0: all).
func drainMain(ctx context.Context, args []string) error {
	const count = 6
	if len(args) != count {
		return errors.New("drain takes HOST NAME TAG CLIENTS MOST QUERY")
	}
	clients, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	most, err := strconv.ParseInt(args[4], 10, 64)
	if err != nil {
		return err
	}
	start := time.Now()
	var first atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range clients {
		g.Go(func() error {
			d := drain{from: repository{host: args[0], name: args[1], tag: args[2]}, query: args[5], most: most}
			defer d.client.CloseIdleConnections()
			return d.pull(ctx, func() { first.CompareAndSwap(0, int64(time.Since(start))) })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(clientTold{First: time.Duration(first.Load())})
}

// A drain is one client.
type drain struct {
	from   repository
	query  string
	most   int64
	client http.Client
}

// pull fetches an image; began is called at each first byte of a layer.
func (d *drain) pull(ctx context.Context, began func()) error {
	d.client.Transport = &http.Transport{MaxIdleConnsPerHost: drainAtOnce, DisableCompression: true}
	raw, err := d.manifest(ctx)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(drainAtOnce)
	g.Go(func() error { return d.blob(ctx, m.Config, func() {}) })
	for _, l := range m.Layers {
		if d.most == 0 || l.Size <= d.most {
			g.Go(func() error { return d.blob(ctx, l, began) })
		}
	}
	return g.Wait()
}

func (d *drain) manifest(ctx context.Context) ([]byte, error) {
	r, err := d.get(ctx, "manifests/"+d.from.tag)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// blob reads a blob and wants it to be as long as its descriptor says.
func (d *drain) blob(ctx context.Context, b ocispec.Descriptor, began func()) error {
	r, err := d.get(ctx, "blobs/"+b.Digest.String())
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, drainBuffer)
	n, err := r.Read(buf)
	began()
	sum := int64(n)
	for err == nil {
		n, err = r.Read(buf)
		sum += int64(n)
	}
	if !errors.Is(err, io.EOF) || sum != b.Size {
		return fmt.Errorf("blob %s ended after %d of %d bytes: %w", b.Digest, sum, b.Size, err)
	}
	return nil
}

func (d *drain) get(ctx context.Context, what string) (io.ReadCloser, error) {
	at := d.from.url(what)
	if d.query != "" {
		at += "?" + d.query
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	for _, t := range manifestTypes {
		r.Header.Add("Accept", t)
	}
	a, err := d.client.Do(r)
	if err != nil {
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("GET %s: %s", at, a.Status), a.Body.Close())
	}
	return a.Body, nil
}
