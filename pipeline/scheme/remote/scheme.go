package remote

import (
	"context"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
)

// Scheme is registry://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST] as a source and a
// destination. All that it opens share one rate limit.
func Scheme(cfg Config) pipeline.Scheme {
	cfg = cfg.withLimiter()
	return pipeline.Scheme{
		Name: "registry",
		Options: []pipeline.Option{
			{Name: "os", Source: true, Help: "operating system to choose from an index"},
			{Name: "arch", Aliases: []string{"architecture"}, Source: true, Help: "architecture to choose from an index"},
			{Name: "variant", Source: true, Help: "variant of the architecture"},
			{Name: "username", Source: true, Sink: true, Help: "user name"},
			{Name: "password", Source: true, Sink: true, Help: "password; --password-stdin and a file are safer"},
			{Name: "insecure", Source: true, Sink: true, Help: "plain HTTP in place of HTTPS"},
			{Name: "ca", Source: true, Sink: true, Help: "PEM file of certificate authorities to trust as well"},
			{Name: "skip_verify", Source: true, Sink: true, Help: "accept any certificate"},
			{Name: "realm", Source: true, Sink: true, Help: "host of a token server in another domain that may get the login"},
			{Name: "max_workers", Source: true, Sink: true, Help: "connections that move bytes at once"},
			{Name: "compression", Sink: true, Help: "gzip or zstd; default: as layers come, plain ones with gzip"},
			pipeline.RecompressOption,
		},
		Source: func(loc pipeline.Location) (pipeline.Source, error) {
			e, err := newEnd(cfg, cfg.Source, loc)
			if err != nil {
				return nil, err
			}
			return &Source{client: e.client("--source-creds-file", pullScope), query: loc.Query}, nil
		},
		Sink: func(loc pipeline.Location) (pipeline.Sink, error) {
			e, err := newEnd(cfg, cfg.Sink, loc)
			if err != nil {
				return nil, err
			}
			return newSink(e.client("--dest-creds-file", pushScope), e.cfg), nil
		},
		Inventor: func(loc pipeline.Location) (pipeline.Inventor, error) {
			e, err := newEnd(cfg, cfg.Sink, loc)
			if err != nil {
				return nil, err
			}
			return &stock{e.client("--dest-creds-file", pullScope)}, nil
		},
	}
}

// OpenContent opens the repository that a familiar name ("busybox",
// "quay.io/team/app:1") is in, with the source's login, for what another source
// lacks. The connection ends with the program.
func OpenContent(_ context.Context, cfg Config, name string) (pipeline.Content, error) {
	ref, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	e := &end{ref: ref, cfg: cfg.withLimiter().withDefaults(), keys: cfg.Source}
	if e.transport, err = newTransport(e.cfg); err != nil {
		return nil, err
	}
	return &content{client: e.client("--source-creds-file", pullScope), limits: pipeline.Limits{}}, nil
}

// An end is one registry URI with the options that hold for it.
type end struct {
	ref       Reference
	cfg       Config
	keys      credential.Keychain
	transport transport
	gate      *gate // nil: its own
	site      *site // nil: its own
}

func newEnd(cfg Config, keys credential.Keychain, loc pipeline.Location) (*end, error) {
	ref, err := ParseReference(loc.Host, loc.Path)
	if err != nil {
		return nil, err
	}
	e := &end{ref: ref, cfg: cfg}
	if err := e.cfg.options(loc); err != nil {
		return nil, err
	}
	e.cfg = e.cfg.withDefaults()
	e.keys = login(loc, keys)
	e.transport, err = newTransport(e.cfg)
	return e, err
}

// options lets the query of a URI win over the configuration.
func (c *Config) options(loc pipeline.Location) error {
	for key, target := range map[string]*bool{"insecure": &c.Insecure, "skip_verify": &c.SkipVerify} {
		v, ok, err := loc.Bool(key)
		if err != nil {
			return err
		}
		if ok {
			*target = v
		}
	}
	n, ok, err := loc.Int("max_workers")
	if err != nil {
		return err
	}
	if ok && n < 1 {
		return pipeline.Usage("registry:// option max_workers is %d; it takes a number from 1 up", n)
	}
	if ok {
		c.Workers = n
	}
	if ca := loc.Query["ca"]; ca != "" {
		c.CA = ca
	}
	if realm := loc.Query["realm"]; realm != "" {
		c.Realms = append(append([]string{}, c.Realms...), strings.Split(realm, ",")...)
	}
	if c.Recompress, err = loc.Recompress(); err != nil {
		return err
	}
	if s := loc.Query["compression"]; s != "" {
		c.Compression = pipeline.Compression(strings.ToLower(s))
	}
	switch c.Compression { //nolint:exhaustive // the others are refused
	case "", pipeline.Gzip, pipeline.Zstd:
		return nil
	}
	return pipeline.Usage("registry:// option compression is %q; it takes gzip or zstd", string(c.Compression))
}

// platforms are those of the query, with the URI's options in their place.
func platformOptions(q pipeline.Platforms, options map[string]string) (pipeline.Platforms, error) {
	os, arch, variant := options["os"], options["arch"], options["variant"]
	if a := options["architecture"]; a != "" {
		arch = a
	}
	if os == "" && arch == "" && variant == "" {
		return q, nil
	}
	p := pipeline.DefaultPlatform()
	if len(q.Want) == 1 {
		p = q.Want[0]
	}
	if os != "" && os != p.OS {
		p = ocispec.Platform{OS: os, Architecture: p.Architecture, Variant: p.Variant}
	}
	if arch != "" && arch != p.Architecture {
		p.Architecture, p.Variant = arch, "" // another architecture has other variants
	}
	if variant != "" {
		p.Variant = variant
	}
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	want, err := pipeline.ParsePlatform(text)
	if err != nil {
		return q, err
	}
	want.OSVersion, want.OSFeatures = p.OSVersion, p.OSFeatures
	return pipeline.Platforms{Want: []ocispec.Platform{want}}, nil
}
