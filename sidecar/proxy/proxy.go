package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/meter"
	"github.com/occystrap/occystrap/sidecar/store"
)

// A Proxy answers requests. What the settings say of it is a generation, which
// Reload replaces; the store and what is in flight stay.
type Proxy struct {
	log    *slog.Logger
	store  *store.Store
	meter  *meter.Meter
	pushed *registry.Handler // over the generation that each request belongs to
	temp   string

	life context.Context //nolint:containedctx // of what older settings began
	end  context.CancelFunc

	reloading sync.Mutex // held while settings are replaced

	mu      sync.RWMutex
	now     *generation
	retired sync.WaitGroup
}

// New opens the store and makes a proxy of settings. The caller closes it.
func New(ctx context.Context, c Config) (p *Proxy, err error) {
	p = &Proxy{log: c.Log}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	defer func() { //nolint:contextcheck // Close gives up at once
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	if c.Store.Dir == "" {
		return p, errors.New("the proxy needs a folder for its store; name one with --store")
	}
	p.store, err = store.Open(ctx, c.Store.Dir, store.Options{High: c.Store.High, Low: c.Store.Low, Age: c.Store.Age, Now: c.Now, Log: p.log})
	if err != nil {
		return p, err
	}
	if p.temp, err = tempFolder(c); err != nil {
		return p, err
	}
	p.pushed = registry.New(current, registry.Options{Failed: p.failed})
	p.meter = p.newMeter(c)
	p.now, err = p.generation(ctx, c, nil)
	return p, err
}

// current is the generation of new requests.
func (p *Proxy) current() *generation {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.now
}

// ServeHTTP answers a request by the settings of when it came.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.RLock()
	g := p.now
	g.requests.Add(1)
	p.mu.RUnlock()
	defer g.requests.Done()
	g.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), belongs{}, g)))
}

// Reload gives the proxy new settings for new requests; with an error the old ones
// stay. The store stays as it is.
func (p *Proxy) Reload(c Config) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if p.life.Err() != nil {
		return errors.New("the proxy has ended")
	}
	old := p.current()
	if err := mayReload(old.config, c); err != nil {
		return err
	}
	g, err := p.generation(context.Background(), c, old)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.now = g
	p.mu.Unlock()
	p.retired.Go(func() {
		old.requests.Wait()
		if err := errors.Join(old.drain(p.life), old.close()); err != nil && p.life.Err() == nil {
			p.log.Error("the old settings are left behind", "error", err)
		}
	})
	return nil
}

// mayReload refuses what takes a new start.
func mayReload(old, c Config) error {
	switch {
	case old.Store != c.Store:
		return errors.New("the store's folder and bounds do not change while the proxy runs; restart it")
	case old.TempDir != c.TempDir:
		return errors.New("the folder for temporary files does not change while the proxy runs; restart it")
	case (old.Access.Cert == "") != (c.Access.Cert == ""):
		// Its listeners speak the one or the other, and logins must not go on in the clear.
		return errors.New("whether the proxy speaks TLS does not change while it runs; restart it")
	}
	return nil
}

// Drain finishes what was begun after the last request: what was accepted is not
// lost. It ends with ctx.
func (p *Proxy) Drain(ctx context.Context) error {
	g := p.current()
	p.meter.Drain()
	retired := make(chan struct{})
	go func() {
		p.retired.Wait()
		close(retired)
	}()
	err := g.drain(ctx)
	select {
	case <-retired:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("what was begun with older settings did not end: %w", ctx.Err()))
	}
}

// Close ends what still goes on, closes the store and removes temporary files.
func (p *Proxy) Close() error {
	var errs []error
	p.reloading.Lock() // the settings that it leads to are the last
	p.end()
	p.reloading.Unlock()
	if p.now != nil {
		errs = append(errs, p.now.close())
	}
	p.retired.Wait()
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.temp != "" {
		errs = append(errs, os.RemoveAll(p.temp))
	}
	return errors.Join(errs...)
}

// failed tells of answers that are not the client's fault.
func (p *Proxy) failed(r *http.Request, err error) {
	p.log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
}

// storeID tells stores apart in names of files.
func storeID(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:6])
}

// tempName is the folder for temporary files, within the one that was named.
const tempName = "occystrap-proxy-temp"

// tempFolder makes an empty folder for temporary files. What is in it was left by
// a proxy that was killed: whoever has the store, has the folder.
func tempFolder(c Config) (string, error) {
	dir := filepath.Join(c.Store.Dir, "temp")
	if c.TempDir != "" {
		// Two proxies may share the parent, but not the store.
		dir = filepath.Join(c.TempDir, tempName+"-"+storeID(c.Store.Dir))
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("remove old temporary files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for temporary files: %w", err)
	}
	return dir, nil
}
