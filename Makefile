GO ?= go
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
DATA ?= ./data
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD = $(GO) build -ldflags "-X main.version=$(VERSION)" -o bin/headgate ./cmd/headgate
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help run build test check lint fmt gen gen-fresh tidy race race-short bench fuzz fuzz-short chaos ledger conformance

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build, and serve on 127.0.0.1:8080 with SQLite in ./data
	bin/headgate serve --listen 127.0.0.1:8080 --data $(DATA)

build: ## build bin/headgate
	$(BUILD)

test: ## run every test (finds or starts PostgreSQL by itself; Node only for real MCP peers)
	$(GO) test -timeout 8m ./...

check: tidy lint gen-fresh fuzz-short race-short conformance ## everything CI runs; ends with make test
	@$(MAKE) --no-print-directory test || { echo "once more, what failed: on a crowded machine a real server or browser may start late"; $(MAKE) --no-print-directory test; }

fmt: ## format the code
	gofmt -w cmd internal bench client

lint: ## gofmt, vet (also for macOS and Windows), staticcheck
	@test -z "$$(gofmt -l cmd internal bench client)" || { gofmt -l cmd internal bench client; echo "run make fmt"; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./cmd/... ./internal/sandbox/...
	GOOS=windows $(GO) vet ./cmd/... ./internal/sandbox/...
	$(STATICCHECK) ./...

tidy: ## go.mod and go.sum are what the code needs
	$(GO) mod tidy -diff

gen: ## write docs/reference and client/ from the code
	$(GO) run ./internal/app/gen

gen-fresh: ## fail when docs/reference or client/ are not what gen writes
	$(GO) run ./internal/app/gen -check

RACED = CGO_ENABLED=1 $(GO) test -race -short -timeout 10m ./internal/call/ ./internal/credit/ ./internal/apikey/ ./internal/quota/ \
	./internal/journal/ ./internal/server/... ./internal/upstream/... ./internal/gateway/...
race-short:
	@$(RACED) || $(RACED)

race: ## every test under the race detector (long)
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...

# A number of inputs, not a time: the fuzzing coordinator has a deadline to
# race otherwise (go.dev/issue/75804). A time is made of several numbers: the
# scanner and the translator have a minute each, the twelve targets together
# some five on two free cores, building included; make fuzz takes two minutes
# and more for each.
fuzz-short:
	$(GO) run ./internal/testkit/fuzz -inputs 20000
	$(GO) run ./internal/testkit/fuzz -inputs 200000 -for 1m -only '^Fuzz(Scan|Reply|Requests|Replies)$$'

fuzz: ## every fuzz target, two million inputs each, and 10,000 hostile inputs an operation
	$(GO) run ./internal/testkit/fuzz -inputs 2000000
	HEADGATE_HOSTILE=10000 $(GO) test -timeout 60m -run TestHostile ./internal/...

chaos: ## kill the server twenty times per engine under load, and audit
	HEADGATE_KILLS=20 $(GO) test -timeout 30m -count=1 -run TestChaos -v ./internal/app/

ledger: ## 100,000 random ledger operations on each engine
	$(GO) test -timeout 30m -count=1 -run TestLedgerProperties -v ./internal/credit/ -rapid.checks=3500

bench: ## measure Headgate against direct calls, nginx and a reverse proxy; prints the table
	$(GO) run ./bench

CONFORMANCE = HEADGATE_CONFORMANCE=1 $(GO) test -timeout 10m -count=1 -run TestConformance ./internal/gateway/
conformance: ## the official MCP conformance suite through the Gateway
	@$(CONFORMANCE) || $(CONFORMANCE)
