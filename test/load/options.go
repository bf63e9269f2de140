package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what the command line says. One run of the tool makes a row for each transport and each number in flight
// (or each offered rate).
type options struct {
	mode       string
	transports []string
	inFlight   []int // closed loop, unless there are rates
	rates      []int // open loop, units per second
	users      int   // 0: enough for the mode
	time       time.Duration
	warmup     time.Duration
	drain      time.Duration // how long the end waits for what is still on its way
	count      int           // ends the row earlier; 0: only the time does
	size       int           // bytes of a message's body
	receivers  int           // message, call: all senders share so many receivers; 0: each has its own
	challenge  bool          // reregister: forget the nonce each time
	steps      []int         // idle: memory with so many users too, in rising order
	beside     bool          // the API's rows are compared with those of SIP

	domain   string
	user     string // user names are this and a number
	password string // followed by the number
	servers  map[string]string
	pids     []int
	metrics  string
	remote   bool

	private
	json  string
	quiet bool
}

// private is about the server that the tool starts itself.
type private struct {
	binary  string // a built parley; "" builds one
	profile string // folder; the server then is a child of this tool with pprof
	store   string
	dir     string
	limits  string
}

var modes = []string{"message", "register", "reregister", "idle", "call"}

// transports are the names as the flags, the URI parameter and the tables have them.
var transports = []string{"udp", "tcp", "tls", "wss"}

func parseOptions(args []string) (*options, error) {
	o := &options{servers: map[string]string{}}
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&o.mode, "mode", "message", "what the users do: "+strings.Join(modes, ", ")+"; api: message over SIP and over the API in turn")
	kinds := f.String("transport", "tcp", "list of udp, tcp, tls, wss, http and https (the API), or xmpp with -server: a row each")
	flight := f.String("inflight", "64", "closed loop: list of how many units are under way at a time, a row each")
	rate := f.String("rate", "", "open loop instead: list of offered units per second, a row each")
	f.IntVar(&o.users, "users", 0, "users, half of them senders (0: 200, or more if the units in flight need them; 2,000 for register and idle)")
	f.DurationVar(&o.time, "time", 5*time.Second, "length of the measured part")
	f.DurationVar(&o.warmup, "warmup", time.Second, "load before the measured part")
	f.DurationVar(&o.drain, "drain", 10*time.Second, "longest wait for what is under way at the end")
	f.IntVar(&o.count, "count", 0, "end the measured part after so many units (0: only -time ends it)")
	f.IntVar(&o.size, "size", 200, "bytes of a message's body")
	f.IntVar(&o.receivers, "receivers", 0, "message, call: all senders write to so many users (0: each to its own)")
	f.BoolVar(&o.challenge, "challenge", false, "reregister: take a new challenge for every REGISTER")
	steps := f.String("steps", "", "idle: list of numbers of users with which memory is measured on the way to -users")
	f.StringVar(&o.domain, "domain", "load.test", "domain of the users")
	f.StringVar(&o.user, "user", "u", "user names are this and a number from 0")
	f.StringVar(&o.password, "password", "secret-", "passwords are this and the user's number")
	server := f.String("server", "", "attach to a running server: list such as tcp=127.0.0.1:5060,wss=127.0.0.1:8443 (empty: start a private Parley)")
	pid := f.String("pid", "", "with -server: process ids to measure, children included")
	f.StringVar(&o.metrics, "metrics", "", "with -server: host:port of Parley's metrics")
	f.BoolVar(&o.remote, "remote", false, "allow a server that is not on loopback")
	f.StringVar(&o.binary, "parley", "", "parley binary to start (empty: build ./cmd/parley)")
	f.StringVar(&o.profile, "profile", "", "folder for CPU, heap, block and goroutine profiles; the server then runs in a child of this tool")
	f.StringVar(&o.store, "store", "", "store.url of the private server")
	f.StringVar(&o.dir, "dir", "", "folder for the private server's data (empty: a temporary one, removed at the end)")
	f.StringVar(&o.limits, "config", "", "lines of TOML added to the private server's configuration, behind its section limits")
	f.StringVar(&o.json, "json", "", "file for the figures as JSON (- for standard output)")
	f.BoolVar(&o.quiet, "quiet", false, "no progress lines")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("load: unknown argument %q", f.Arg(0))
	}
	o.transports = strings.Split(*kinds, ",")
	chosen := false
	f.Visit(func(x *flag.Flag) { chosen = chosen || x.Name == "transport" })
	o.besideSIP(chosen)
	var errFlight, errRate, errPid, errSteps error
	o.inFlight, errFlight = numbers(*flight)
	o.rates, errRate = numbers(*rate)
	o.pids, errPid = numbers(*pid)
	o.steps, errSteps = numbers(*steps)
	if err := errors.Join(errFlight, errRate, errPid, errSteps, o.attach(*server), o.check()); err != nil {
		return nil, err
	}
	return o, nil
}

// attach reads the addresses of a running server.
func (o *options) attach(list string) error {
	for s := range strings.SplitSeq(list, ",") {
		kind, addr, ok := strings.Cut(s, "=")
		if !ok && list != "" {
			return fmt.Errorf("load: -server %q: write transport=host:port", s)
		}
		if ok {
			o.servers[kind] = addr
		}
	}
	return nil
}

func numbers(list string) ([]int, error) {
	var all []int
	for _, s := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("load: %q is not a list of positive numbers", list)
		}
		all = append(all, n)
	}
	return all, nil
}

// The bounds of a run: a mistyped number shall not fill a disk or a process table.
const (
	maxUsers = 200_000
	maxTime  = 24 * time.Hour
	maxRate  = 1_000_000
)

func (o *options) check() error {
	if !slices.Contains(modes, o.mode) {
		return fmt.Errorf("load: -mode %q: choose one of %v", o.mode, modes)
	}
	if err := errors.Join(o.checkXMPP(), o.checkAPI()); err != nil {
		return err
	}
	if err := errors.Join(o.checkServers(), o.checkBounds()); err != nil {
		return err
	}
	switch {
	case !slices.IsSorted(o.steps):
		return errors.New("load: -steps are in rising order")
	case o.receivers < 0:
		return errors.New("load: -receivers is not negative")
	case o.size < minBody || o.size > 60_000:
		return fmt.Errorf("load: -size is from %d to 60000", minBody)
	case len(o.inFlight) == 0 && len(o.rates) == 0:
		return errors.New("load: give -inflight or -rate")
	case len(o.rates) > 0 && slices.Max(o.rates) > maxRate:
		return fmt.Errorf("load: -rate is at most %d", maxRate)
	}
	return nil
}

// checkServers looks at the transports, and the address for each of a server that runs.
func (o *options) checkServers() error {
	for _, k := range o.transports {
		if !slices.Contains(transports, k) && k != overXMPP && !overAPI(k) {
			return fmt.Errorf("load: -transport %q: choose from %v, %s, %s or %s", k, transports, overHTTP, overHTTPS, overXMPP)
		}
		if len(o.servers) == 0 {
			continue
		}
		addr, err := netip.ParseAddrPort(o.servers[k])
		if err != nil {
			return fmt.Errorf("load: -server has no address for %s: %w", k, err)
		}
		if !addr.Addr().IsLoopback() && !o.remote {
			return fmt.Errorf("load: %v is not on loopback; say -remote if that server is yours to load", addr)
		}
	}
	return nil
}

func (o *options) checkBounds() error {
	switch {
	case o.users < 0 || o.users > maxUsers:
		return fmt.Errorf("load: -users is at most %d", maxUsers)
	case o.time <= 0 || o.time > maxTime || o.warmup < 0 || o.drain < 0:
		return fmt.Errorf("load: -time is more than 0 and at most %v", maxTime)
	}
	return nil
}

// row is one measurement.
type row struct {
	transport string
	inFlight  int // closed loop; 0 in an open one
	rate      int // open loop
}

func (o *options) rows() []row {
	var list []row
	for _, k := range o.transports {
		for _, r := range o.rates {
			list = append(list, row{transport: k, rate: r})
		}
		if len(o.rates) > 0 {
			continue
		}
		for _, n := range o.inFlight {
			list = append(list, row{transport: k, inFlight: n})
		}
	}
	return list
}

// usersOf is how many users a row needs. A sender has one unit under way at a time (RFC 3428 §8), so a closed loop needs
// two users for each.
func (o *options) usersOf(r row) int {
	switch {
	case o.users > 0:
		return o.users
	case o.mode == "register" || o.mode == "idle":
		return 2000
	case o.mode == "reregister":
		return max(200, r.inFlight)
	}
	return max(200, 2*r.inFlight)
}
