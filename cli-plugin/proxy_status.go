package cliplugin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	side "github.com/occystrap/occystrap/sidecar"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/meter"
)

const (
	// statusTime is how long a proxy may take to tell; its store may be slow.
	statusTime = 15 * time.Second
	// maxStatus bounds what is read of an answer.
	maxStatus = 16 << 20
)

// statusOptions are those that only "proxy status" takes.
type statusOptions struct {
	address, secretFile string
}

func (p *program) proxyStatusCommand() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [OPTIONS]",
		Short: "Tell what a proxy does",
		Long: `Tell what a proxy that runs does: what moves now, what its store holds, how much was
answered without asking upstream, and how the registries behind it are.

Where the proxy demands a login, it is that of "docker login", or the secret in the
file that --secret-file names.`,
		Example: `  occystrap proxy status
  occystrap proxy status --address https://proxy.example:5050 -O json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return p.proxyStatus(ctx, cmd, o)
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVar(&o.address, "address", side.DefaultListen, "Where the proxy listens: HOST:PORT, or https://HOST:PORT")
	cmd.Flags().StringVar(&o.secretFile, "secret-file", "", "File with the secret of the proxy's installation")
	return cmd
}

func (p *program) proxyStatus(ctx context.Context, cmd *cobra.Command, o statusOptions) error {
	at, err := statusURL(o.address)
	if err != nil {
		return usage(cmd, "--address: %v", err)
	}
	raw, err := p.askStatus(ctx, at, o.secretFile)
	if err != nil {
		return err
	}
	var s meter.Status
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("what answers at %s is no proxy of occystrap's: %w", at.Host, err)
	}
	if p.options.output.value == outputJSON {
		return writeJSON(p.docker.Out(), s)
	}
	return writeStatus(p.docker.Out(), at.Host, s)
}

// statusURL reads --address.
func statusURL(address string) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("it takes HOST:PORT, or https://HOST:PORT")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: meter.StatusPath}, nil
}

// askStatus asks the proxy, with what it demands.
func (p *program) askStatus(ctx context.Context, at *url.URL, secretFile string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	if err := p.statusLogin(ctx, r, secretFile); err != nil {
		return nil, err
	}
	client, err := p.statusClient()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		return nil, unanswered(at.Host, err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxStatus))
	switch answer.StatusCode {
	case http.StatusOK:
		return raw, err
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("the proxy at %s does not tell you (%s); log in with docker login %[1]s, or name the file of its secret with --secret-file", at.Host, answer.Status)
	case http.StatusNotFound:
		return nil, fmt.Errorf("what answers at %s is no proxy of occystrap's; name its address with --address", at.Host)
	}
	if answer.StatusCode == http.StatusBadRequest && at.Scheme == "http" && strings.Contains(string(raw), "HTTPS server") { // net/http says so
		return nil, fmt.Errorf("the proxy at %s speaks TLS; ask it with --address https://%[1]s", at.Host)
	}
	return nil, fmt.Errorf("the proxy at %s answers %s", at.Host, answer.Status)
}

// statusLogin adds the secret, or the login that is known for the address.
func (p *program) statusLogin(ctx context.Context, r *http.Request, secretFile string) error {
	if secretFile != "" {
		raw, err := os.ReadFile(secretFile)
		if err != nil {
			return fmt.Errorf("read the secret: %w", err)
		}
		secret := strings.TrimSpace(string(raw))
		if secret == "" || strings.ContainsAny(secret, "\r\n") {
			return fmt.Errorf("%s holds no secret; it takes one line", secretFile)
		}
		r.Header.Set(access.SecretHeader, secret)
		return nil
	}
	login, err := p.options.login(p.docker.In())
	if err != nil {
		return err
	}
	known, found, err := login.keychain("").Lookup(ctx, r.URL.Host)
	switch {
	case err != nil:
		p.warnings().Warn(fmt.Sprintf("no login for %s can be looked up: %v", r.URL.Host, err))
	case found && known.Secret != "":
		r.SetBasicAuth(known.Username, known.Secret.Reveal())
	}
	return nil
}

// statusClient goes to the address and nowhere else: no redirect, no web proxy.
func (p *program) statusClient() (*http.Client, error) {
	t := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: p.options.skipVerify}} //nolint:gosec // the user asks for it
	if p.options.ca != "" {
		pem, err := os.ReadFile(p.options.ca)
		if err != nil {
			return nil, fmt.Errorf("read the authorities: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", p.options.ca)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// unanswered says in a sentence why nobody answers.
func unanswered(host string, err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no proxy listens at %s; start one with \"occystrap proxy\" or its units, or name its address with --address", host)
	}
	var authority x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("the proxy at %s has a certificate of an authority that is not trusted here; name the authority with --ca FILE", host)
	case errors.As(err, &plain), strings.Contains(err.Error(), "HTTP response to HTTPS client"): // an error of net/http without a type
		return fmt.Errorf("the proxy at %s speaks no TLS; ask it with --address http://%[1]s", host)
	}
	return fmt.Errorf("the proxy at %s does not answer: %w", host, err)
}
