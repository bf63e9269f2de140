// Load puts a SIP server under load and tells what it did with it: how many messages a second, at which latency, for how
// much processor time and memory, and whether each message that was acknowledged was received once and in order.
//
//	go run ./test/load                                         a private Parley, messages over TCP, 64 in flight
//	go run ./test/load -transport udp,tcp,tls,wss -inflight 1,32,256
//	go run ./test/load -rate 1000 -time 30s                    open loop
//	go run ./test/load -mode register -users 10000 -transport tls -inflight 256
//	go run ./test/load -mode idle -users 8000 -time 10s
//	go run ./test/load -mode call -inflight 32
//	go run ./test/load -mode api                               messages over SIP and over the API, and how much more the API costs
//	go run ./test/load soak -time 1h                           everything at once and slowly, and nothing may grow
//	go run ./test/load presence                                20,000 users who watch each other's presence; -what storm, fan
//	go run ./test/load -profile /tmp/profiles                  with CPU, heap and goroutine profiles of the server
//	go run ./test/load -server tcp=127.0.0.1:5070 -pid 1234    another server
//	go run ./test/load -server xmpp=127.0.0.1:5222 -transport xmpp -pid 1234,99    one that speaks XMPP, and its database
//
// In a closed loop a fixed number of units is under way; in an open loop units fall due at a fixed rate, and latency
// counts from the due time whatever the server does meanwhile. A unit is a message, a sign-in, or a call with its end.
// Processor time is that of all threads of the server's processes; the tool's own stands beside it. The exit code is 1
// when something was lost, doubled, out of order or left open.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	asked, err := serveIfAsked()
	if !asked {
		err = mainError(os.Args[1:])
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func mainError(args []string) (err error) {
	if len(args) > 0 && args[0] == "soak" {
		return soakMain(args[1:])
	}
	if len(args) > 0 && args[0] == "presence" {
		return presenceMain(args[1:])
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(o.servers) == 0 && o.binary == "" {
		dir, err := os.MkdirTemp("", "parley-load-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a binary in a temporary folder
		if o.binary, err = build(dir); err != nil {
			return err
		}
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil { //nolint:gosec // for everyone
			return err
		}
	}
	var results []*result
	var failed error
	for _, r := range o.rows() {
		res, err := measureRow(ctx, o, r)
		if res != nil {
			results = append(results, res)
			if text := res.wrong(); text != "" {
				failed = errors.Join(failed, errors.New("load: "+r.transport+": "+text))
			}
		}
		if err != nil {
			failed = errors.Join(failed, err)
			break
		}
	}
	if o.json != "" {
		failed = errors.Join(failed, writeJSON(o.json, results))
	}
	if o.json != "-" {
		failed = errors.Join(failed, table(os.Stdout, results))
		if o.beside {
			failed = errors.Join(failed, tellBeside(os.Stdout, results))
		}
	}
	return failed
}

// measureRow starts a server, loads it and stops it.
func measureRow(ctx context.Context, o *options, r row) (res *result, err error) {
	users := o.usersOf(r)
	t, err := start(o, r.transport, users)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	return newTrial(o, r, t).run(ctx)
}
