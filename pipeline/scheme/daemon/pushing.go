package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/distribution/reference"
	registrytypes "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// push has the daemon push what name points at, with a login of ours, and
// returns when it has ended. A platform chooses one of an index; nil pushes what
// there is. What the daemon complains of is the error.
func (e *engine) push(ctx context.Context, name string, l login, p *ocispec.Platform) error {
	auth, err := l.auth()
	if err != nil {
		return err
	}
	body, err := e.startPush(ctx, name, auth, p)
	if err != nil {
		return explain(ctx, e.cli, "push the image", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	if err := readSteps(body, "push"); err != nil {
		return errors.Join(explain(ctx, e.cli, "push the image", err), body.Close())
	}
	return body.Close()
}

func (e *engine) startPush(ctx context.Context, name, auth string, p *ocispec.Platform) (io.ReadCloser, error) {
	if e.podman {
		return e.podmanPush(ctx, name, auth)
	}
	return e.cli.ImagePush(ctx, name, client.ImagePushOptions{RegistryAuth: auth, Platform: p})
}

// podmanPush says besides that our address needs no certificate, which Docker
// knows of the loopback and the client has no option for.
func (e *engine) podmanPush(ctx context.Context, name, auth string) (io.ReadCloser, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, err
	}
	q := url.Values{"tlsVerify": {"false"}}
	if tagged, ok := named.(reference.Tagged); ok {
		q.Set("tag", tagged.Tag())
	}
	target := "http://podman/v" + e.cli.ClientVersion() + "/images/" + named.Name() + "/push?" + q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set(registrytypes.AuthHeader, auth)
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return e.cli.Dialer()(ctx) }}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	words, _ := io.ReadAll(io.LimitReader(resp.Body, complaintSize)) // the status tells enough
	return nil, errors.Join(fmt.Errorf("status %s: %s", resp.Status, strings.TrimSpace(string(words))), resp.Body.Close())
}

// messageLimit is far above one line of a push's progress, in bytes.
const messageLimit = 1 << 20

// readSteps reads the stream of a push or pull to its end. A stream that is cut is
// an error: a daemon that is well ends it.
func readSteps(r io.Reader, doing string) error {
	limited := &io.LimitedReader{R: r}
	for d := json.NewDecoder(limited); ; {
		limited.N = messageLimit
		var m message
		err := d.Decode(&m)
		switch {
		case errors.Is(err, io.EOF) && limited.N > 0:
			return nil
		case err != nil:
			return fmt.Errorf("read what the daemon says of the %s: %w", doing, err)
		}
		if words := m.complaint(); words != "" {
			return fmt.Errorf("the daemon could not %s: %s", doing, strings.TrimSpace(words))
		}
	}
}
