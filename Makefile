# occystrap: everything that is done with this repository. "make help" lists it.
# Every target does its own set-up; Go, git and make are all that must be there.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Tools are built from source at these versions, checked by the checksum
# database, and stay in bin/tools.
GOLANGCI_LINT := v2.15.0
GOVULNCHECK   := v1.9.0
TOOLS         := $(CURDIR)/bin/tools

# The race detector needs a C compiler; a machine with only Go may have none.
RACE := $(shell [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v $$($(GO) env CC) >/dev/null 2>&1 && echo -race)

TEST_ENV := $(CURDIR)/contrib/testenv/.cache/env

# Where "make install" puts things: for everybody as root, else for this user.
ifeq ($(shell id -u),0)
PREFIX     ?= /usr/local
PLUGIN_DIR ?= $(PREFIX)/lib/docker/cli-plugins
else
PREFIX     ?= $(HOME)/.local
PLUGIN_DIR ?= $(or $(DOCKER_CONFIG),$(HOME)/.docker)/cli-plugins
endif

SHARE := $(DESTDIR)$(PREFIX)/share
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system

# Where a user's own manager looks for units (systemd.unit(5)).
ifeq ($(shell id -u),0)
USER_UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/user
else
USER_UNITS := $(SHARE)/systemd/user
endif

# The manual is written by a program that runs here, whatever is built.
HOST_GO := GOOS= GOARCH= $(GO)

.PHONY: build
build: ## build every binary into bin/ (the default)
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...
	@ln -f bin/docker-occystrap bin/occystrap

.PHONY: demo
demo: build ## make a real image, change it, show what changed, load it where a daemon answers
	@contrib/demo/demo.sh

# What fails is told at the end of it all once more, in few lines. The whole
# output of a phase is in bin/test/PHASE.json.
FAILURES := bin/test/failures
gotest    = $(GO) run ./contrib/gotest -name $(1) -failures $(FAILURES) -log bin/test/$(1).json $(2) --

# What takes long under the race detector skips with -short, and runs in the last
# phase. There -count=1, because a result of other daemons is none. The time is
# that of contrib/integration on a slow machine. Two tests that fail there may run once
# more, since they depend on daemons that are not ours; the output ends with them.
TEST_RACE   = $(call gotest,race) $(RACE) -short -timeout 30m ./...
TEST_PUREGO = $(call gotest,purego) -tags purego ./pipeline/internal/deflate
TEST_ALL    = OCCYSTRAP_TEST_ENV='$(TEST_ENV)' $(call gotest,all,-again 2) -tags integration -count=1 -timeout 70m ./...

# Unit tests run even when a daemon could not be started: the result is the
# worst of all phases.
.PHONY: test
test: ## run all tests: unit tests, then everything against real daemons
	@[ -n '$(RACE)' ] || echo 'Without the race detector: there is no C compiler.'
	@rm -rf bin/test; mkdir -p bin/test; status=0; \
	contrib/testenv/up.sh || { status=1; echo '--- FAIL: contrib/testenv/up.sh; why is at the beginning of the output' >>$(FAILURES); }; \
	$(TEST_RACE) || status=1; \
	$(TEST_PUREGO) || status=1; \
	$(TEST_ALL) || status=1; \
	if [ -s $(FAILURES) ]; then cat $(FAILURES); fi; \
	exit $$status

.PHONY: test-race
test-race: ## run the unit tests that are quick, with the race detector
	@rm -f $(FAILURES); $(TEST_RACE)

.PHONY: test-all
test-all: ## run every test, those against the daemons of testenv too
	@rm -f $(FAILURES); status=0; $(TEST_PUREGO) || status=1; $(TEST_ALL) || status=1; exit $$status

.PHONY: testenv
testenv: ## install and start the daemons that the integration tests use
	contrib/testenv/up.sh

.PHONY: testenv-down
testenv-down: ## stop what testenv started
	contrib/testenv/down.sh

.PHONY: docs
docs: ## write contrib/docs/commands anew from the commands' help
	$(HOST_GO) run ./contrib/docs/gen contrib/docs/commands

.PHONY: man
man: ## write man pages into bin/man
	$(HOST_GO) run ./contrib/docs/gen -man bin/man

.PHONY: install
install: build man ## install plugin, command, man pages, completion and the sidecar with its units (PREFIX, PLUGIN_DIR and DESTDIR say where)
	install -d '$(DESTDIR)$(PLUGIN_DIR)' '$(DESTDIR)$(PREFIX)/bin'
	install -m 0755 bin/docker-occystrap '$(DESTDIR)$(PLUGIN_DIR)/docker-occystrap'
	install -m 0755 bin/occystrap '$(DESTDIR)$(PREFIX)/bin/occystrap'
	install -d '$(SHARE)/man/man1' '$(SHARE)/bash-completion/completions' '$(SHARE)/zsh/site-functions' '$(SHARE)/fish/vendor_completions.d'
	install -m 0644 bin/man/*.1 '$(SHARE)/man/man1/'
	install -m 0644 contrib/completion/occystrap.bash '$(SHARE)/bash-completion/completions/occystrap'
	install -m 0644 contrib/completion/_occystrap '$(SHARE)/zsh/site-functions/_occystrap'
	install -m 0644 contrib/completion/occystrap.fish '$(SHARE)/fish/vendor_completions.d/occystrap.fish'
	install -m 0755 bin/occystrapd '$(DESTDIR)$(PREFIX)/bin/occystrapd'
	install -d '$(USER_UNITS)'
	install -m 0644 contrib/systemd/user/*.service contrib/systemd/user/*.socket '$(USER_UNITS)/'
	sed -i 's,^ExecStart=/usr/local/,ExecStart=$(PREFIX)/,' '$(USER_UNITS)'/occystrapd-*.service
ifeq ($(shell id -u),0)
	install -d '$(UNITS)'
	install -m 0644 contrib/systemd/*.service contrib/systemd/*.socket '$(UNITS)/'
	sed -i 's,^ExecStart=/usr/local/,ExecStart=$(PREFIX)/,' '$(UNITS)'/occystrapd-*.service
endif
	@case '$(DESTDIR)$(PLUGIN_DIR)' in \
	'$(DESTDIR)'/usr/local/lib/docker/cli-plugins | '$(DESTDIR)'/usr/lib/docker/cli-plugins | '$(or $(DOCKER_CONFIG),$(HOME)/.docker)/cli-plugins') ;; \
	*) echo 'Docker does not look for plugins in $(PLUGIN_DIR): name it in cliPluginsExtraDirs of its config.json, or set PLUGIN_DIR.' ;; \
	esac

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT) ## check style, formatting (gofumpt, gci) and go vet
	$(GO) vet ./...
	$(GO) vet -tags integration ./...
	$(TOOLS)/golangci-lint-$(GOLANGCI_LINT) run --build-tags integration ./...
	$(GO) mod tidy -diff

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@mv $(TOOLS)/golangci-lint $@

.PHONY: vuln
vuln: ## look for known vulnerabilities (asks vuln.go.dev)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./...

.PHONY: bench
bench: build ## measure side by side with other tools; results in contrib/bench/RESULTS.md (BENCH='-daemons -only lanes': options)
	contrib/testenv/up.sh
	OCCYSTRAP_TEST_ENV='$(TEST_ENV)' $(GO) run ./contrib/bench $(BENCH)

.PHONY: clean
clean: ## remove what was built (testenv-down stops the daemons)
	rm -rf bin dist

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done
