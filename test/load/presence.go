package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"connectrpc.com/connect"

	parleyv1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/server"
	"github.com/parley-im/parley/test/load/crowd"
	"github.com/parley-im/parley/test/load/gauge"
)

// presenceOptions are beside those of the other modes.
type presenceOptions struct {
	what     string
	tcp      int
	sockets  int
	contacts int
	lists    string
	over     time.Duration
	factor   float64
	changes  float64 // per user and hour, and so are the next two
	messages float64
	renewals float64
	owners   int
	watchers int
	every    time.Duration
	settle   time.Duration
	api      string
}

var presenceKinds = []string{"model", "storm", "fan"}

func parsePresence(args []string) (*options, *presenceOptions, error) {
	o, po := &options{servers: map[string]string{}, mode: "presence"}, &presenceOptions{}
	f := flag.NewFlagSet("load presence", flag.ContinueOnError)
	f.StringVar(&po.what, "what", "model", "model: lists, changes and messages at fixed rates; storm: everybody signs on; fan: few are watched by many, without lists")
	f.IntVar(&o.users, "users", 0, "users (0: 20,000; fan: owners and watchers)")
	f.IntVar(&po.tcp, "tcp", -1, "so many of the users have a TCP connection each, the others use UDP (-1: a quarter; fan: none)")
	kind := f.String("transport", "", "udp or tcp: all users over the same, instead of -tcp")
	f.IntVar(&po.sockets, "sockets", 32, "UDP sockets that the users share (0: each has its own)")
	f.IntVar(&po.contacts, "contacts", 50, "contacts of each user, an even number")
	f.StringVar(&po.lists, "lists", "server", "where the list of contacts is: server (put there through the API before) or body (of the SUBSCRIBE, RFC 5367)")
	f.DurationVar(&po.over, "over", time.Minute, "time within which all sign on")
	f.Float64Var(&po.factor, "factor", 1, "everything so many times as fast")
	f.Float64Var(&po.changes, "changes", 6, "model: changes of presence per user and hour")
	f.Float64Var(&po.messages, "messages", 20, "model: messages per user and hour")
	f.Float64Var(&po.renewals, "renewals", 1, "model: renewals of binding and subscription per user and hour")
	f.IntVar(&po.owners, "owners", 1, "fan: users who are watched")
	f.IntVar(&po.watchers, "watchers", 200, "fan: users who watch, each all owners")
	f.DurationVar(&po.every, "every", 6*time.Second, "fan: time between two changes of an owner; divided by -factor")
	f.DurationVar(&po.settle, "settle", 5*time.Second, "rest before memory is read")
	f.DurationVar(&o.time, "time", time.Minute, "length of the measured part")
	f.DurationVar(&o.warmup, "warmup", 10*time.Second, "load before the measured part")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "longest wait for states after the last sign-on, and for what is under way at the end")
	f.StringVar(&o.domain, "domain", "load.test", "domain of the users")
	f.StringVar(&o.user, "user", "u", "user names are this and a number from 0")
	f.StringVar(&o.password, "password", "secret-", "passwords are this and the user's number")
	to := f.String("server", "", "attach to a running server: list such as udp=127.0.0.1:5060,tcp=127.0.0.1:5060 (empty: start a private Parley)")
	pid := f.String("pid", "", "with -server: process ids to measure, children included")
	f.StringVar(&o.metrics, "metrics", "", "with -server: host:port of Parley's metrics")
	f.StringVar(&po.api, "api", "", "with -server: address of Parley's API, for lists that the server keeps")
	f.BoolVar(&o.remote, "remote", false, "allow a server that is not on loopback")
	f.StringVar(&o.binary, "parley", "", "parley binary to start (empty: build ./cmd/parley)")
	f.StringVar(&o.profile, "profile", "", "folder for CPU, heap and goroutine profiles; the server then runs in a child of this tool")
	f.StringVar(&o.store, "store", "", "store.url of the private server")
	f.StringVar(&o.dir, "dir", "", "folder for the private server's data (empty: a temporary one, removed at the end)")
	f.StringVar(&o.limits, "config", "", "lines of TOML added to the private server's configuration, behind its section limits")
	f.StringVar(&o.json, "json", "", "file for the figures as JSON (- for standard output)")
	f.BoolVar(&o.quiet, "quiet", false, "no progress lines")
	if err := f.Parse(args); err != nil {
		return nil, nil, err
	}
	if f.NArg() > 0 {
		return nil, nil, fmt.Errorf("load: unknown argument %q", f.Arg(0))
	}
	var errPid error
	o.pids, errPid = numbers(*pid)
	err := errors.Join(errPid, o.attach(*to), po.fill(o, *kind))
	if err == nil {
		o.transports = po.transports(o)
		err = errors.Join(o.checkServers(), o.checkBounds(), po.check(o))
	}
	return o, po, err
}

// fill puts numbers in place of those that follow from others.
func (po *presenceOptions) fill(o *options, transport string) error {
	switch {
	case po.what == "fan" && o.users > 0:
		po.watchers = o.users - po.owners
	case po.what == "fan":
		o.users = po.owners + po.watchers
	case o.users == 0:
		o.users = 20_000
	}
	switch {
	case transport == "tcp":
		po.tcp = o.users
	case transport == "udp" || transport == "" && po.tcp < 0 && po.what == "fan":
		po.tcp = 0
	case transport != "":
		return fmt.Errorf("load: -transport %q: choose udp or tcp", transport)
	case po.tcp < 0:
		po.tcp = o.users / 4
	}
	return nil
}

// transports are those in use.
func (po *presenceOptions) transports(o *options) []string {
	var list []string
	if po.tcp < o.users {
		list = append(list, "udp")
	}
	if po.tcp > 0 {
		list = append(list, "tcp")
	}
	return list
}

func (po *presenceOptions) check(o *options) error {
	switch {
	case !slices.Contains(presenceKinds, po.what):
		return fmt.Errorf("load: -what %q: choose one of %v", po.what, presenceKinds)
	case po.tcp > o.users:
		return errors.New("load: -tcp is at most -users")
	case po.what != "fan" && (po.contacts < 2 || po.contacts%2 != 0 || po.contacts >= o.users || po.contacts > 2000):
		return errors.New("load: -contacts is an even number below that of the users, at most 2,000")
	case po.what == "fan" && (po.owners < 1 || po.watchers < 1 || po.owners*po.watchers > 1_000_000):
		return errors.New("load: -owners and -watchers are at least 1, and at most a million together")
	case po.lists != "server" && po.lists != "body":
		return fmt.Errorf("load: -lists %q: choose server or body", po.lists)
	case len(o.servers) > 0 && po.what != "fan" && po.lists == "server" && po.api == "":
		return errors.New("load: lists that the server keeps are put there through its API: give -api, or -lists body")
	case po.sockets < 0 || po.sockets > 10_000 || po.over < 0 || po.over > time.Hour || po.settle < 0 || po.every <= 0:
		return errors.New("load: -sockets is at most 10,000, -over at most an hour, -every more than 0")
	case po.factor <= 0 || po.factor > 10_000 || po.changes < 0 || po.messages < 0 || po.renewals < 0 || max(po.changes, po.messages, po.renewals) > 3600:
		return errors.New("load: -factor is more than 0, -changes, -messages and -renewals are at most 3,600")
	}
	return nil
}

func presenceMain(args []string) (err error) {
	o, po, err := parsePresence(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(o.dir, "parley-presence-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil { //nolint:gosec // for everyone
			return err
		}
	}
	t := &target{addrs: o.servers, pids: o.pids, metrics: o.metrics, stop: func() error { return nil }}
	if len(o.servers) == 0 {
		if o.binary == "" {
			if o.binary, err = build(dir); err != nil {
				return err
			}
		}
		if t, err = startPrivate(o, "", dir, o.users); err != nil {
			return err
		}
		po.api = "unix:" + server.Socket(filepath.Join(dir, "data"))
	}
	p := newPresenceTrial(o, po, t)
	err = p.run(ctx)
	err = errors.Join(err, t.stop())
	if o.json != "" {
		err = errors.Join(err, writeJSON(o.json, []*crowd.Result{p.res}))
	}
	if o.json != "-" {
		err = errors.Join(err, p.res.Table(os.Stdout))
	}
	if text := p.res.Wrong(); text != "" {
		err = errors.Join(err, errors.New("load: presence: "+text))
	}
	return err
}

// presenceTrial is one run.
type presenceTrial struct {
	o      *options
	po     *presenceOptions
	target *target
	crowd  *crowd.Crowd
	res    *crowd.Result
	out    io.Writer
	began  time.Duration
}

func newPresenceTrial(o *options, po *presenceOptions, t *target) *presenceTrial {
	p := &presenceTrial{o: o, po: po, target: t, out: os.Stderr, began: now()}
	if o.quiet {
		p.out = io.Discard
	}
	co := crowd.Options{
		Domain: o.domain, User: o.user, Password: o.password, Addrs: t.addrs, People: o.users, TCP: po.tcp, Sockets: po.sockets,
		Contacts: po.contacts, Body: po.lists == "body", Expires: 3600, Out: p.out,
	}
	if po.what == "fan" {
		co.Contacts, co.Owners = 0, po.owners
	}
	p.crowd = crowd.New(co)
	p.res = &crowd.Result{
		Started: time.Now().UTC().Format(time.RFC3339), Mode: "presence", What: po.what, Transport: strings.Join(po.transports(o), "+"),
		Users: o.users, TCP: po.tcp, Contacts: co.Contacts, Owners: co.Owners, Factor: po.factor, Cores: runtime.NumCPU(),
	}
	return p
}

func (p *presenceTrial) say(format string, args ...any) {
	fmt.Fprintf(p.out, "%6.1f s  "+format+"\n", append([]any{(now() - p.began).Seconds()}, args...)...)
}

func (p *presenceTrial) run(ctx context.Context) (err error) {
	if p.po.what != "fan" && p.po.lists == "server" {
		if err := p.putLists(ctx); err != nil {
			return err
		}
	}
	if err := p.crowd.Open(ctx); err != nil {
		return err
	}
	defer func() {
		p.res.Finish(p.crowd.Figures()) // those who leave are told of, too
		p.crowd.Close(len(p.o.servers) > 0)
	}()
	if p.po.what == "fan" {
		err = p.crowd.Attend(ctx, p.o.drain, func() error { return p.memory(ctx, &p.res.Memory.Before) })
	} else {
		err = p.signOn(ctx)
	}
	if err == nil {
		err = p.memory(ctx, &p.res.Memory.Ready)
	}
	if err != nil || p.po.what == "storm" {
		return err
	}
	perHour := p.po.factor * float64(p.o.users) / 3600
	rates := crowd.Rates{Changes: p.po.changes * perHour, Messages: p.po.messages * perHour, Renewals: p.po.renewals * perHour}
	if p.po.what == "fan" {
		rates = crowd.Rates{Changes: p.po.factor * float64(p.po.owners) / p.po.every.Seconds()}
	}
	return p.live(ctx, rates)
}

// signOn has everybody come, and sees what that costs.
func (p *presenceTrial) signOn(ctx context.Context) error {
	if err := p.memory(ctx, &p.res.Memory.Before); err != nil {
		return err
	}
	began := now()
	profiled := p.profile("storm", p.po.over)
	settled := p.crowd.SignOn(ctx, p.po.over, p.o.drain)
	u, err := gauge.Measure(p.target.pids, false)
	if err != nil {
		return err
	}
	p.res.SignOnCPU, p.res.SignOnSeconds, p.res.SettledSeconds = u.CPU-p.res.Memory.Before.CPU, (now() - began).Seconds(), settled.Seconds()
	if settled < 0 {
		p.res.SettledSeconds = -1
	}
	p.say("all have signed on: %s", p.crowdLine())
	return errors.Join(ctx.Err(), <-profiled)
}

func (p *presenceTrial) crowdLine() string {
	f := p.crowd.Figures()
	return fmt.Sprintf("%d subscriptions, %d have all states, %d see each other online, %d NOTIFYs, refused %d", f.Subscriptions, f.Complete, f.Online, f.Notifies, f.Refusals())
}

// live lets things happen at fixed rates, and measures.
func (p *presenceTrial) live(ctx context.Context, rates crowd.Rates) error {
	live, cancel := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	length := p.o.warmup + p.o.time
	load.Go(func() { p.crowd.Live(live, rates, length+time.Second) })
	wait := func(d time.Duration) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := wait(p.o.warmup); err != nil {
		return err
	}
	p.crowd.Measure(p.o.time)
	began, own, figures := now(), gauge.OwnCPU(), p.crowd.Figures()
	before, err := gauge.Measure(p.target.pids, false)
	if err != nil {
		return err
	}
	p.say("measuring for %v", p.o.time)
	profiled := p.profile(p.po.what, p.o.time)
	if err := wait(p.o.time); err != nil {
		return err
	}
	after, err := gauge.Measure(p.target.pids, true)
	if err != nil {
		return err
	}
	r, f := p.res, p.crowd.Figures()
	r.Seconds, r.ServerCPU, r.ToolCPU = (now() - began).Seconds(), after.CPU-before.CPU, gauge.OwnCPU()-own
	r.Done, r.Changes, r.Bytes = int(f.Notifies-figures.Notifies), int(f.Published-figures.Published), f.Bytes-figures.Bytes
	r.Memory.After = after
	cancel()
	load.Wait()
	p.crowd.Settle(ctx, p.o.drain)
	p.say("%s", p.crowdLine())
	return errors.Join(ctx.Err(), <-profiled)
}

// memory reads what the server holds, after a rest, and with profiles after it has collected its garbage.
func (p *presenceTrial) memory(ctx context.Context, to *crowd.Held) error {
	t := time.NewTimer(p.po.settle)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.target.pprof != "" {
		if err := p.target.fetchProfile(p.o, "heap?gc=1", "presence-"+strconv.Itoa(int(p.crowd.Figures().Subscriptions))+".heap.pprof"); err != nil {
			return err
		}
	}
	var err error
	if to.Usage, err = gauge.Measure(p.target.pids, true); err != nil {
		return err
	}
	m, err := gauge.Scrape(p.target.metrics)
	if err == nil && p.target.pprof != "" {
		to.Live = m["go_memstats_heap_alloc_bytes"]
	}
	return err
}

// profile takes the server's CPU profile of the next so many seconds, if profiles are asked for.
func (p *presenceTrial) profile(name string, length time.Duration) <-chan error {
	done := make(chan error, 1)
	if p.target.pprof == "" || length < time.Second {
		done <- nil
		return done
	}
	go func() {
		seconds := strconv.Itoa(int(min(length, time.Minute).Seconds()))
		done <- errors.Join(
			p.target.fetchProfile(p.o, "profile?seconds="+seconds, "presence-"+name+".cpu.pprof"),
			p.target.fetchProfile(p.o, "allocs", "presence-"+name+".allocs.pprof"),
			p.target.fetchProfile(p.o, "goroutine?debug=1", "presence-"+name+".goroutines.txt"))
	}()
	return done
}

// putLists gives everybody the list of contacts through the API, eight at a time.
func (p *presenceTrial) putLists(ctx context.Context) error {
	began := now()
	api := parley.Dial(p.po.api)
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	err := p.crowd.Lists(func(person int, contacts []int) error {
		r := &parleyv1.AddContactsRequest{Owner: p.o.user + strconv.Itoa(person) + "@" + p.o.domain}
		for _, i := range contacts {
			r.Contacts = append(r.Contacts, &parleyv1.NewContact{Address: p.o.user + strconv.Itoa(i) + "@" + p.o.domain})
		}
		mu.Lock()
		stop := errors.Join(failed, ctx.Err())
		mu.Unlock()
		if stop != nil {
			return stop
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if _, err := api.Contacts.AddContacts(ctx, connect.NewRequest(r)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = fmt.Errorf("load: contacts of %s: %s", r.Owner, parley.Reason(err))
			}
		})
		return nil
	})
	wg.Wait()
	p.res.ListsSeconds = (now() - began).Seconds()
	p.say("%d lists of %d contacts are on the server", p.o.users, p.po.contacts)
	return errors.Join(err, failed)
}
