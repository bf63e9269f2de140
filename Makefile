# The verbs of this repository; `make` lists them. Go is enough for build and test.
.POSIX:
.PHONY: help build test check fuzz clients web web-check web-test web-shots bench bench-quick microbench crash crash-quick soak

# How long each fuzz target runs.
FUZZTIME = 10s
# How many times make crash kills the server; everything else is broken three times.
ROUNDS = 200
# How long make soak goes on.
SOAK = 1h

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile

build: ## build bin/parley
	CGO_ENABLED=0 go build -trimpath -o bin/parley ./cmd/parley

test: ## run the tests, on PostgreSQL too if it is installed
	test/postgres/run go test ./...

check: ## format, vet, staticcheck, generated files, go.mod, and the tests under the race detector
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:" $$unformatted; exit 1; fi
	go vet ./...
	go -C tools vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	go run -C tools ./protogen -check
	go mod tidy -diff
	go -C tools mod tidy -diff
	go mod verify
	@if command -v "$$(go env CC)" >/dev/null; then \
		echo test/postgres/run go test -race -p 1 ./...; CGO_ENABLED=1 go build -race ./... && CGO_ENABLED=1 test/postgres/run test/again/run go test -race -p 1 ./...; \
	else echo "race detector: left out, it needs a C compiler (apt-get install gcc libc6-dev)"; test/postgres/run go test ./...; fi

fuzz: ## run each fuzz target for FUZZTIME (make fuzz FUZZTIME=1m)
	test/fuzz/run $(FUZZTIME)

clients: ## drive real SIP clients against the server and print the matrix
	@if [ ! -d test/clients/node_modules/playwright-core ]; then npm ci --no-audit --no-fund --prefix test/clients; fi
	go run ./test/clients

web: ## build the web client into web/client/dist, which is committed (needs Node 20, as the next three do)
	web/check -build

web-check: ## the web client and sdk/ts: format, types, tests, size, and that what is committed is what they build
	web/check

web-test: build ## the web client in Chromium, with axe on every page
	@if [ ! -d test/web/node_modules/playwright-core ]; then npm ci --no-audit --no-fund --prefix test/web; fi
	node test/web/run.mjs bin/parley

web-shots: build ## pictures of every page into test/web/out
	@if [ ! -d test/web/node_modules/playwright-core ]; then npm ci --no-audit --no-fund --prefix test/web; fi
	cd test/web && node shots.mjs ../../bin/parley out

microbench: ## run the benchmarks of the packages
	go test -run '^$$' -bench . -benchmem ./...

bench: ## Parley beside Kamailio, ejabberd and Prosody, 40 minutes (make bench BENCH=-update writes docs/performance.md)
	go run ./test/bench $(BENCH)

bench-quick: ## Parley alone, beside the figures committed last, in less than 3 minutes
	go run ./test/bench -quick

crash: ## kill and break the server in every way, and want nothing lost (make crash ROUNDS=20)
	test/postgres/run test/crash/run $(ROUNDS)

crash-quick: ## some of everything that make crash does, in less than two minutes
	test/crash/run short

soak: ## everything at once for SOAK, and nothing may grow or be lost (make soak SOAK=12h)
	test/soak/run $(SOAK)
