package sidecar

// proxyHelp is all that there is to say on a command line of the proxy.
const proxyHelp = `Usage: occystrapd proxy [options]
       occystrapd proxy secret [--config FILE]

Run a registry that filters what is pushed and pulled through it. What is pushed
goes downstream or, without one, is kept here; what is pulled comes from the
upstreams that the settings name, and no other. systemd starts it
(occystrapd-proxy.socket); by hand it listens itself.

"secret" prints the secret that pushes, deletes and upstreams with logins demand,
where they do:

  occystrapd proxy secret | docker login -u occystrap --password-stdin 127.0.0.1:5050

  --config FILE      settings; default /etc/occystrap/config.toml. With - before
                     it the file need not exist
  --listen ADDRESS   address to listen at where systemd passes no socket,
                     HOST:PORT; repeatable; default 127.0.0.1:5050
  --store DIR        where images are kept; default $STATE_DIRECTORY/store
  --downstream REG   registry that gets what is pushed, [USER:TOKEN@]HOST[/PREFIX]
  --upstream REG     registry for names without a host that nobody has pushed
  -f, --filter SPEC  filter for all images, in place of the settings' own ones;
                     repeatable
  --temp-dir DIR     for temporary files; default $CACHE_DIRECTORY or in the store
  --idle TIME        end when nobody has been connected for so long, where systemd
                     starts it; default 1m, 0 is never
  --offline          ask no upstream
  --version          print the version

SIGHUP reads the settings again. SIGTERM ends it when what was begun is finished,
after 5 minutes at most.
`
