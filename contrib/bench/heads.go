package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// headsName is the first argument that makes this program one that asks for the same
// over and over, in place of wrk: it shares two cores with the server, so it does
// as little as possible.
const headsName = "heads"

// headsMain asks: "heads HOST PATH COUNT CONNECTIONS" sends COUNT times HEAD PATH over
// that many connections that are kept.
func headsMain(ctx context.Context, args []string) error {
	const count = 4
	if len(args) != count {
		return errors.New("heads takes HOST PATH COUNT CONNECTIONS")
	}
	all, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	connections, err := strconv.Atoi(args[3])
	if err != nil || connections < 1 || all < connections {
		return errors.Join(errors.New("heads takes some connections, and at least as many requests"), err)
	}
	request := []byte("HEAD " + args[1] + " HTTP/1.1\r\nHost: " + args[0] + "\r\nAccept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json\r\n\r\n")
	times := make([][]time.Duration, connections)
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for n := range connections {
		g.Go(func() (err error) {
			times[n], err = heads(ctx, args[0], request, all/connections)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	took := time.Since(start)
	sorted := slices.Sorted(slices.Values(slices.Concat(times...)))
	const hundredth = 100
	return json.NewEncoder(os.Stdout).Encode(clientTold{
		Rate: float64(len(sorted)) / took.Seconds(), P99: sorted[len(sorted)-1-len(sorted)/hundredth],
	})
}

// heads asks count times on one connection.
func heads(ctx context.Context, host string, request []byte, count int) ([]time.Duration, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	r := bufio.NewReader(c)
	times := make([]time.Duration, 0, count)
	for range count {
		start := time.Now()
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		if err := headOf(r); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times, nil
}

// headOf reads one answer, which has no body.
func headOf(r *bufio.Reader) error {
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")):
			return fmt.Errorf("the answer is %q", line)
		case len(bytes.TrimSpace(line)) == 0:
			return nil
		}
	}
}
