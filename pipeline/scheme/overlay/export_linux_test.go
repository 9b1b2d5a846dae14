package overlay

// Ways names the ways to mount, for tests of each.
func Ways() map[string]way {
	return map[string]way{"by file": byFile, "by name": byName, "by string": byString}
}

// By is cfg, mounting in one way only.
func By(cfg Config, w way) Config {
	cfg.ways = []way{w}
	return cfg
}
