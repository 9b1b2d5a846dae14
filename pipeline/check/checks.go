package check

// A Severity says how bad a result is.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// A Check is one thing that is looked at.
type Check struct {
	ID string
	// Severity is that of a result that is not as it should be.
	Severity Severity
	// Full: layers have to be read.
	Full bool
	Help string
}

// Checks are all checks, in the order in which the reference lists them.
var Checks = []Check{
	{"metadata", Warning, false, "there is an image with a manifest and a config"},
	{"manifest-digest", Error, false, "a manifest or index has the digest and size that name it"},
	{"manifest-format", Error, false, "a manifest or index can be read in one way only"},
	{"manifest-media-type", Error, false, "a manifest has the type that its descriptor says"},
	{"missing-blob", Error, false, "what a manifest lists is there"},
	{"schema-version", Error, false, "schemaVersion is 2"},
	{"index-entry", Warning, false, "an index lists images once for each platform, and attestations of images that it lists"},
	{"platform", Error, false, "an image is for the platform that its index says"},
	{"oci-media-type", Info, false, "the manifest is an OCI one"},
	{"docker-media-type", Info, false, "the manifest is one of Docker's"},
	{"mixed-media-types", Warning, false, "config and layers are of the manifest's family of types"},
	{"config-descriptor", Error, false, "the manifest names a config"},
	{"config-digest", Error, false, "the config has its digest"},
	{"config-size", Error, false, "the config has its size"},
	{"config-format", Error, false, "the config can be read in one way only"},
	{"rootfs-type", Error, false, "rootfs.type is layers"},
	{"layer-count", Error, false, "the config has a diff ID for each layer"},
	{"layer-descriptor", Error, false, "layers have a digest and a size"},
	{"history-count", Error, false, "the history has an entry for each layer, or none at all"},
	{"history-secret", Warning, false, "neither history nor environment names a secret"},
	{"args-escaped", Warning, false, "ArgsEscaped is not used"},
	{"zstd-compat", Warning, false, "no layer needs a daemon that reads zstd (Docker 23.0)"},
	{"large-layer", Warning, false, "no layer is larger than 1 GiB compressed"},
	{"max-size", Error, false, "the image is not larger than --max-size"},
	{"layer-digest", Error, true, "a layer has its digest and size"},
	{"layer-read", Error, true, "a layer can be read"},
	{"layer-media-type", Error, true, "a layer is compressed as its media type says"},
	{"multi-member", Warning, true, "a gzip layer is one member: some tools read only the first"},
	{"diff-id", Error, true, "the plain layer has the diff ID of the config"},
	{"tar-format", Error, true, "a layer is a tar"},
	{"name-escape", Error, true, "no name leads out of the tree"},
	{"link-escape", Error, true, "no link leads out of the tree (a warning for symbolic links, which end at the root)"},
	{"long-name", Warning, true, "no name is longer than 4096 bytes, which no system opens"},
	{"hardlink-target", Error, true, "what a hard link points at is there before it"},
	{"type-conflict", Error, true, "nothing lies below a file, or is file and directory at once (a warning between layers)"},
	{"case-conflict", Warning, true, "no names differ in case only: some file systems keep one of them"},
	{"whiteout", Error, true, "a whiteout names what it deletes"},
	{"tar-timestamp", Error, true, "no time is before 1970"},
	{"tar-permissions", Warning, true, "nothing is setuid or setgid and writable by all"},
	{"setuid-lost", Warning, true, "setuid, setgid and file capabilities are such that a file system keeps them"},
	{"duplicate-file", Warning, true, "no file is there more than once"},
	{"max-waste", Error, true, "not more than --max-waste is overwritten or deleted"},
	{"waste", Info, true, "bytes that later layers overwrite or delete"},
	{"limits", Warning, true, "the image is small enough to be checked whole"},
}

// severityOf is the severity of a check's bad result.
var severityOf = func() map[string]Severity {
	m := map[string]Severity{}
	for _, c := range Checks {
		m[c.ID] = c.Severity
	}
	return m
}()
