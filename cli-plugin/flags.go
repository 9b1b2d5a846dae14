package cliplugin

import (
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/pipeline"
)

// The values of --output-format.
const (
	outputText = "text"
	outputJSON = "json"
)

// The defaults that --help shows.
const (
	defaultParallel = 4
	defaultRetries  = 3
)

// install adds the options that work before and after every command's name.
func (o *options) install(flags *pflag.FlagSet) {
	o.installOutput(flags)
	o.installChoice(flags)
	o.installRegistry(flags)
	o.installRun(flags)
	o.installCache(flags)
	o.installLimits(flags)
	o.installSidecar(flags)
}

func (o *options) installOutput(flags *pflag.FlagSet) {
	o.progress = choice{value: progressAuto, allowed: []string{progressAuto, progressBars, progressLines, progressJSON, progressNone}}
	flags.BoolVar(&o.verbose, "verbose", false, "Show details")
	flags.BoolVar(&o.debug, "debug", false, "Show details and every HTTP request (never its secrets)")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Show warnings and errors only")
	flags.Var(&o.progress, "progress", "How to show progress: auto, bars, lines, json or none")
	o.output = choice{value: outputText, allowed: []string{outputText, outputJSON}}
	flags.VarP(&o.output, "output-format", "O", "How info, check, diff, plan, cache ls, store ls and proxy status print: text or json")
}

func (o *options) installChoice(flags *pflag.FlagSet) {
	o.missing = choice{value: string(pipeline.MissingPrune), allowed: words(pipeline.MissingPrune, pipeline.MissingFetch, pipeline.MissingFail)}
	o.foreign = choice{value: string(pipeline.ForeignKeep), allowed: words(pipeline.ForeignKeep, pipeline.ForeignFetch, pipeline.ForeignSkip)}
	o.attestations = choice{value: string(pipeline.AttestationsDrop), allowed: words(pipeline.AttestationsDrop, pipeline.AttestationsKeep, pipeline.AttestationsNone)}
	flags.StringVar(&o.os, "os", "", `Operating system of the image to take (default "linux")`)
	flags.StringVar(&o.architecture, "architecture", "", "Architecture of the image to take (default: this machine's)")
	flags.StringVar(&o.variant, "variant", "", "Variant of the architecture, as v7 of arm")
	flags.Var(&o.platforms, "platform", "Platforms to take, as linux/arm64; repeat it or separate by commas")
	flags.BoolVar(&o.allPlatforms, "all-platforms", false, "Take every image of an index, and the index")
	flags.Var(&o.missing, "missing", "Images of an index that the source does not hold: prune, fetch or fail")
	flags.Var(&o.foreign, "foreign", "Layers that are kept elsewhere by their URLs: keep, fetch or skip")
	flags.Var(&o.attestations, "attestations", "Attestations of an image that was changed: drop or keep; none drops all")
}

func (o *options) installRegistry(flags *pflag.FlagSet) {
	o.compression = choice{allowed: words(pipeline.Gzip, pipeline.Zstd)}
	o.retries = count{value: defaultRetries}
	flags.StringVar(&o.username, "username", "", "User at both registries ($OCCYSTRAP_USERNAME)")
	flags.StringVar(&o.password, "password", "", "Password at both registries ($OCCYSTRAP_PASSWORD); better use --password-stdin")
	flags.BoolVar(&o.passwordStdin, "password-stdin", false, "Read the password from standard input")
	flags.StringVar(&o.sourceCredentials, "source-creds-file", "", "File with credentials for the source only")
	flags.StringVar(&o.destinationCredentials, "dest-creds-file", "", "File with credentials for the destination only")
	flags.BoolVar(&o.insecure, "insecure", false, "Use HTTP instead of HTTPS at both registries")
	flags.StringVar(&o.ca, "ca", "", "PEM file with certificate authorities to trust, besides the system's")
	flags.BoolVar(&o.skipVerify, "skip-verify", false, "Do not verify the registries' certificates")
	flags.Var(&o.compression, "compression", "Compression of layers written to a registry: gzip or zstd ($OCCYSTRAP_COMPRESSION)")
	flags.Var(&o.retries, "retries", "How often a failed request is tried again ($OCCYSTRAP_RETRIES)")
	flags.Var(&o.rateLimit, "rate-limit", "Bytes per second from and to registries, as 10m ($OCCYSTRAP_RATE_LIMIT)")
}

func (o *options) installRun(flags *pflag.FlagSet) {
	o.parallel = count{value: defaultParallel, least: 1}
	o.recompress = choice{allowed: words(pipeline.RecompressAuto, pipeline.RecompressTranscode, pipeline.RecompressCanonical)}
	flags.VarP(&o.parallel, "parallel", "j", "Layers in flight at once ($OCCYSTRAP_PARALLEL)")
	flags.Var(&o.recompress, "recompress", "How changed layers are compressed: auto, transcode or canonical ($OCCYSTRAP_RECOMPRESS)")
	flags.StringVar(&o.tempDir, "temp-dir", "", "Folder for temporary files ($OCCYSTRAP_TEMP_DIR, else $TMPDIR)")
	flags.BoolVar(&o.verify, "verify", false, "Read the destination back afterwards and check every digest")
}

func (o *options) installLimits(flags *pflag.FlagSet) {
	flags.Var(&o.maxManifestSize, "max-manifest-size", "Largest manifest or config to accept (default 8m)")
	flags.Var(&o.maxLayer, "max-layer-size", "Largest uncompressed layer to accept (default 256g)")
	flags.Var(&o.maxEntries, "max-entries", "Most entries of a layer or archive to accept (default 20000000)")
}

// choices are the flags that take one of a few words, by name.
func (o *options) choices() map[string]*choice {
	return map[string]*choice{
		"progress": &o.progress, "missing": &o.missing, "foreign": &o.foreign,
		"output-format": &o.output, "attestations": &o.attestations, "compression": &o.compression, "recompress": &o.recompress,
	}
}

// words are the values of one of pipeline's choices, as flags take them.
func words[T ~string](values ...T) []string {
	var out []string
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}
