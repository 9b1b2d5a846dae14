package cliplugin

import (
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/proxy"
)

// options is what the command line, the environment and files say, for all
// commands (see settle). It is read here and nowhere deeper; a URI's own options
// count before it.
type options struct {
	verbose, debug, quiet bool
	progress, output      choice

	os, architecture, variant string
	platforms                 platformList
	allPlatforms              bool
	missing, foreign          choice
	attestations              choice

	username, password        string
	passwordStdin             bool
	sourceCredentials         string // file names
	destinationCredentials    string
	insecure, skipVerify      bool
	ca                        string
	compression, recompress   choice
	parallel, retries         count
	rateLimit                 size
	tempDir                   string
	layerCache                string // file name; "" for none
	layerCacheSize            size
	verify                    bool
	maxManifestSize, maxLayer size
	maxEntries                count
	sidecar                   string // path of its control socket, or noSidecar
}

// environment lists the variables that stand in for a flag that is not given.
var environment = map[string]string{ //nolint:gosec // names of variables, no secrets
	"username":    "OCCYSTRAP_USERNAME",
	"password":    "OCCYSTRAP_PASSWORD",
	"compression": "OCCYSTRAP_COMPRESSION",
	"recompress":  "OCCYSTRAP_RECOMPRESS",
	"parallel":    "OCCYSTRAP_PARALLEL",
	"temp-dir":    "OCCYSTRAP_TEMP_DIR",
	"retries":     "OCCYSTRAP_RETRIES",
	"rate-limit":  "OCCYSTRAP_RATE_LIMIT",
	"layer-cache": "OCCYSTRAP_LAYER_CACHE",

	"layer-cache-size": "OCCYSTRAP_LAYER_CACHE_SIZE",
	"sidecar":          "OCCYSTRAP_SIDECAR",

	"downstream":        "OCCYSTRAP_DOWNSTREAM",
	"upstream":          "OCCYSTRAP_UPSTREAM",
	"upstream-username": proxy.UpstreamUser,
	"upstream-password": proxy.UpstreamPassword,
}

// contradictions refuses options that contradict each other.
func (o *options) contradictions(cmd *cobra.Command) error {
	flags := cmd.Flags()
	switch {
	case flags.Changed("password") && o.passwordStdin:
		return usage(cmd, "--password and --password-stdin are both given; give one")
	case o.passwordStdin && o.username == "":
		return usage(cmd, "--password-stdin needs --username")
	case len(o.platforms) > 0 && o.allPlatforms:
		return usage(cmd, "--platform and --all-platforms are both given; give one")
	case o.onePlatform() && (len(o.platforms) > 0 || o.allPlatforms):
		return usage(cmd, "--os, --architecture and --variant cannot be combined with --platform or --all-platforms; give one or the other")
	case o.quiet && (o.verbose || o.debug):
		return usage(cmd, "--quiet cannot be combined with --verbose or --debug")
	}
	return nil
}

// sourceDateEpoch is the time that builds which want to be reproducible agree on
// (reproducible-builds.org/specs/source-date-epoch); nil where none is set.
func sourceDateEpoch(cmd *cobra.Command) (*int64, error) {
	const variable = "SOURCE_DATE_EPOCH"
	value := os.Getenv(variable)
	if value == "" {
		return nil, nil //nolint:nilnil // no time is set, which is no error
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return nil, usage(cmd, "%s is %q; it takes seconds since 1970", variable, value)
	}
	return &seconds, nil
}

// onePlatform: one of the options of the original tool chooses the image.
func (o *options) onePlatform() bool { return o.os != "" || o.architecture != "" || o.variant != "" }

// detailed: --debug shows everything that --verbose does.
func (o *options) detailed() bool { return o.verbose || o.debug }

// run is the part of the options that pipeline.Run takes.
func (o *options) run(events pipeline.Events) (pipeline.Options, error) {
	wanted, err := o.wanted()
	if err != nil {
		return pipeline.Options{}, err
	}
	return pipeline.Options{
		Query: pipeline.Query{
			Platforms: wanted,
			Missing:   pipeline.Missing(o.missing.value),
			Foreign:   pipeline.Foreign(o.foreign.value),
			Events:    events,
			Limits:    o.limits(),
		},
		Parallel:     o.parallel.value,
		Retries:      o.retries.value,
		Attestations: pipeline.Attestations(o.attestations.value),
		Recompress:   pipeline.Recompress(o.recompress.value),
		TempDir:      o.tempDir,
	}, nil
}

// limits are what hostile input may cost.
func (o *options) limits() pipeline.Limits {
	return pipeline.Limits{Manifest: int64(o.maxManifestSize), Layer: int64(o.maxLayer), Entries: int64(o.maxEntries.value)}
}

// wanted is the choice of platforms; the zero value leaves it to the source.
func (o *options) wanted() (pipeline.Platforms, error) {
	if !o.onePlatform() {
		return pipeline.Platforms{All: o.allPlatforms, Want: o.platforms}, nil
	}
	p := pipeline.DefaultPlatform()
	if o.architecture != "" {
		p.Architecture, p.Variant = o.architecture, ""
	}
	if o.os != "" {
		p.OS, p.OSVersion, p.OSFeatures = o.os, "", nil
	}
	if o.variant != "" {
		p.Variant = o.variant
	}
	parts := []string{p.OS, p.Architecture}
	if p.Variant != "" {
		parts = append(parts, p.Variant)
	}
	p, err := pipeline.ParsePlatform(strings.Join(parts, "/"))
	return pipeline.Platforms{Want: append(platformList{}, p)}, err
}
