package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/server"
	"github.com/parley-im/parley/test/load/gauge"
	"github.com/parley-im/parley/test/soak"
)

// A soak is everything at once, slowly and for long: what a server holds must not grow, and nothing may be lost.
type soaking struct {
	o      *options
	so     soakOptions
	dir    string // of the private server
	target *target
	trial  *trial // the clients' counters
	api    *parley.Client
	series *soak.Series
	began  time.Duration

	people []*person // steady ones first, then those who come and go
	steady int
	talks  []*talk         // those between steady people first
	even   int             // of them
	ctx    context.Context // ends the clients
	load   context.Context // ends the load
	out    io.Writer

	numbers  atomic.Int64 // of clients and calls
	underWay atomic.Int64 // calls that are going to end by themselves
	left     atomic.Bool  // everyone is leaving: what is still answered is as it comes
	leaked   []io.Closer
	drain    time.Duration // how long it took at the end until all had arrived
	missing  []string      // what is known of messages that were acknowledged and did not arrive
	mu       sync.Mutex    // guards what follows
	sessions map[*session]bool
	counts   map[string]int
}

// soakOptions are beside those of the other modes.
type soakOptions struct {
	time   time.Duration
	rate   float64       // messages a second in all
	every  time.Duration // between samples
	settle time.Duration // the longest wait until the server has forgotten everyone
	people int
	leak   float64 // connections a second that are never given back
	csv    string
	judge  string
}

func parseSoak(args []string) (*options, soakOptions, error) {
	o, so := &options{servers: map[string]string{}, domain: "load.test", user: "u", password: "secret-", size: 200, mode: "soak"}, soakOptions{}
	f := flag.NewFlagSet("load soak", flag.ContinueOnError)
	f.DurationVar(&so.time, "time", time.Hour, "length of the load")
	f.Float64Var(&so.rate, "rate", 150, "messages per second in all; the rest of the mix follows from it")
	f.DurationVar(&so.every, "every", 10*time.Second, "time between samples")
	f.DurationVar(&so.settle, "settle", 4*time.Minute, "longest wait at the end until the server has forgotten everyone; 0: it need not")
	f.IntVar(&so.people, "people", 160, "users; one in five comes and goes")
	f.Float64Var(&so.leak, "leak", 0, "negative control: connections per second that are opened and kept, so that the soak must fail")
	f.StringVar(&so.csv, "csv", "", "file for all samples, written every minute")
	f.StringVar(&so.judge, "judge", "", "only judge the samples of such a file, also of a soak that still goes on")
	f.StringVar(&o.binary, "parley", "", "parley binary to start (empty: build ./cmd/parley)")
	f.StringVar(&o.profile, "profile", "", "folder for heap and goroutine profiles after a third and at the end; the server then runs in a child of this tool")
	f.StringVar(&o.store, "store", "", "store.url of the private server")
	f.StringVar(&o.dir, "dir", "", "folder for the private server's data (empty: a temporary one, removed at the end)")
	f.StringVar(&o.limits, "config", "", "lines of TOML added to the private server's configuration, behind its section limits")
	f.StringVar(&o.json, "json", "", "file for the verdict as JSON")
	f.BoolVar(&o.quiet, "quiet", false, "no progress lines")
	if err := f.Parse(args); err != nil {
		return nil, so, err
	}
	switch {
	case f.NArg() > 0:
		return nil, so, fmt.Errorf("load: unknown argument %q", f.Arg(0))
	case so.time <= 0 || so.time > 7*maxTime:
		return nil, so, fmt.Errorf("load: -time is more than 0 and at most %v", 7*maxTime)
	case so.every < 50*time.Millisecond || so.settle < 0:
		return nil, so, errors.New("load: -every is at least 50ms, -settle is not negative")
	case so.rate <= 0 || so.rate > 5000 || so.leak < 0 || so.leak > 100:
		return nil, so, errors.New("load: -rate is more than 0 and at most 5000, -leak at most 100")
	case so.people < 20 || so.people > 5000:
		return nil, so, errors.New("load: -people is from 20 to 5000")
	}
	return o, so, nil
}

func soakMain(args []string) error {
	o, so, err := parseSoak(args)
	if err != nil {
		return err
	}
	if so.judge != "" {
		return judge(so.judge, so.time)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(o.dir, "parley-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil { //nolint:gosec // for everyone
			return err
		}
	}
	if o.binary == "" {
		if o.binary, err = build(dir); err != nil {
			return err
		}
	}
	t, err := startPrivate(o, "", dir, so.people)
	if err != nil {
		return err
	}
	s := newSoaking(o, so, dir, t)
	err = s.run(ctx)
	return errors.Join(err, t.stop())
}

// judge prints what the samples of a file say of the load's part, which is length or what there is of it.
func judge(file string, length time.Duration) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	series, err := soak.ReadCSV(f)
	if err != nil {
		return err
	}
	hours := min(length.Hours(), series.Hours())
	list := soak.Judge(series, soak.Rules, hours/3, hours)
	err = soak.Table(os.Stdout, list)
	if soak.Grown(list) {
		err = errors.Join(err, errors.New("load: soak: it grows"))
	}
	return err
}

// writeSamples writes the file of the samples anew.
func (s *soaking) writeSamples() error {
	if s.so.csv == "" {
		return nil
	}
	f, err := os.Create(s.so.csv)
	if err != nil {
		return err
	}
	return errors.Join(s.series.WriteCSV(f), f.Close())
}

func newSoaking(o *options, so soakOptions, dir string, t *target) *soaking {
	s := &soaking{
		o: o, so: so, dir: dir, target: t, api: parley.Dial("unix:" + server.Socket(filepath.Join(dir, "data"))), series: &soak.Series{},
		out: os.Stderr, sessions: map[*session]bool{}, counts: map[string]int{},
	}
	if o.quiet {
		s.out = io.Discard
	}
	s.trial = &trial{
		o: o, id: strconv.FormatInt(time.Now().UnixNano()&0xffffffffff, 36), out: s.out, target: t,
		receipt: &gauge.Histogram{}, ack: &gauge.Histogram{}, statuses: map[int]int{}, problems: map[string]int{},
	}
	s.trial.shared.ID, s.trial.shared.Problem = s.trial.id, s.trial.problem
	s.steady = so.people - so.people/5
	for i := range so.people {
		p := &person{s: s, id: i, name: o.user + strconv.Itoa(i), password: o.password + strconv.Itoa(i), kind: transports[i%len(transports)]}
		p.aor = "sip:" + p.name + "@" + o.domain
		if i/len(transports)%2 == 0 { // half of them say which device they are (RFC 5626)
			p.instance = fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012d", i)
		}
		s.people = append(s.people, p)
	}
	// Half of the steady people write, each to one of the other half: over the same and over other transports. Each who
	// comes and goes hears from one of them.
	half := s.steady / 2
	for i := range half {
		s.talks = append(s.talks, newTalk(s, len(s.talks), s.people[i], s.people[half+(i+i/len(transports))%half]))
	}
	s.even = len(s.talks)
	for i, p := range s.people[s.steady:] {
		s.talks = append(s.talks, newTalk(s, len(s.talks), s.people[i%half], p))
	}
	return s
}

// count notes that something happened.
func (s *soaking) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// enough are the samples without which the load goes on: fewer are nothing to judge by.
const enough = 18

// unrecorded tells whether an answer says that something could not be recorded, and counts it: the machine was too busy.
// That is no loss, because who asked knows.
func (s *soaking) unrecorded(status int, why string) bool {
	if status != 500 || !strings.Contains(why, "recorded") {
		return false
	}
	s.count("refused: not recorded")
	return true
}

// run loads the server, waits until all has arrived, signs everyone out, waits until the server has forgotten them, and judges.
func (s *soaking) run(ctx context.Context) error {
	s.began = now()
	if err := s.sample(); err != nil { // before anyone comes
		return err
	}
	before := s.last()
	// Clients live as long as ctx; the load only until its time is over.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.ctx = ctx
	var background, load sync.WaitGroup
	defer background.Wait()
	defer cancel()
	background.Go(s.tick)
	failed := make(chan error, 1)
	background.Go(func() { failed <- s.sampler() })
	stop, ended := context.WithCancel(ctx)
	defer ended()
	background.Go(func() {
		defer ended()
		for more := pause(stop, s.so.time); more && s.series.Len() < enough; more = pause(stop, s.so.every) {
		}
	})
	s.load = stop
	s.mix(stop, &load)
	select {
	case <-stop.Done():
	case err := <-failed: // the server is gone
		return errors.Join(err, s.report(before, nil, 0))
	}
	load.Wait()
	length := (now() - s.began).Hours()
	s.profile("end")
	s.collect(ctx)
	s.explain(ctx)
	s.leave()
	after, err := s.forgotten(ctx, before)
	if err != nil {
		return err
	}
	return s.report(before, after, length)
}

// tick drives the clients' timers.
func (s *soaking) tick() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			at := now()
			for _, ses := range s.open() {
				ses.c.Tick(at)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *soaking) open() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.sessions))
}

// sampler samples until the end, and tells how it goes. It ends with an error when the server cannot be sampled.
func (s *soaking) sampler() error {
	ticker := time.NewTicker(s.so.every)
	defer ticker.Stop()
	profiled, written := false, now()
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return nil
		}
		if err := s.sample(); err != nil {
			if s.ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !profiled && now()-s.began > s.so.time/3 {
			profiled = true
			s.profile("third")
		}
		if now()-written > time.Minute {
			written = now()
			if err := s.writeSamples(); err != nil {
				return err
			}
		}
		s.progress()
	}
}

// sample reads what the server holds.
func (s *soaking) sample() error {
	v := soak.Sample{}
	m, err := gauge.Scrape(s.target.metrics)
	if err != nil {
		return fmt.Errorf("load: the server's metrics cannot be read: %w", err)
	}
	u, err := gauge.Measure(s.target.pids, false)
	if err != nil {
		return err
	}
	if err := errors.Join(v.Process(s.target.pids[0]), v.Folder(filepath.Join(s.dir, "data"))); err != nil {
		return err
	}
	v.Metrics(m)
	v["cpu_s"], v["tool_cpu_s"] = u.CPU, gauge.OwnCPU()
	acked := 0
	for _, t := range s.talks {
		acked += t.counts().Acked
	}
	v["acknowledged"] = float64(acked)
	s.series.Add((now() - s.began).Hours(), v)
	return nil
}

// last is the newest sample.
func (s *soaking) last() soak.Sample { return s.series.Last() }

func (s *soaking) progress() {
	v := s.last()
	fmt.Fprintf(s.out, "%8s  acknowledged %.0f  RSS %.0f MB  heap %.0f  goroutines %.0f  fds %.0f  transactions %.0f  bindings %.0f  calls %.0f  index %.2f s behind%s\n",
		(now() - s.began).Round(time.Second), v["acknowledged"], v["rss_MB"], v["heap_live_MB"], v["goroutines"], v["fds"], v["transactions"], v["bindings"], v["calls"], v["index_lag_s"],
		s.trial.failures())
}

// profile writes what the server holds, if there is a door for that.
func (s *soaking) profile(name string) {
	if s.target.pprof == "" {
		return
	}
	err := errors.Join(s.target.fetchProfile(s.o, "heap?gc=1", name+".heap.pprof"), s.target.fetchProfile(s.o, "goroutine?debug=1", name+".goroutines.txt"))
	if err != nil {
		s.trial.problem("profile: %v", err)
	}
}

// mix starts everything that goes on at once. All of it ends with ctx.
func (s *soaking) mix(ctx context.Context, load *sync.WaitGroup) {
	for _, p := range s.people[:s.steady] {
		load.Go(func() { p.stay(ctx) })
	}
	for _, p := range s.people[s.steady:] {
		load.Go(func() { p.comeAndGo(ctx) })
	}
	r := s.so.rate
	for _, a := range []struct {
		perSecond float64
		act       func()
	}{
		{r * 0.66, func() { s.anyEven().offer(text) }},
		{r * 0.10, func() { s.anyEven().offer(wrapped) }}, // and as many receipts
		{r * 0.07, func() { s.anyEven().offer(typing) }},
		{r * 0.07, func() { s.anyAway().offer(text) }},
		{r * 0.013, s.call},
		{r * 0.01, s.ask},
		{r * 0.005, s.subscribe},
		{r * 0.007, s.rough},
		{r * 0.003, s.guess},
		{0.1, s.search},
		{s.so.leak, s.leak},
	} {
		if a.perSecond > 0 {
			load.Go(func() { repeatedly(ctx, a.perSecond, a.act) })
		}
	}
	load.Go(func() { s.administer(ctx) })
	load.Go(func() { s.commands(ctx) })
}

// repeatedly acts at a mean rate, at random times. act must not wait for the server.
func repeatedly(ctx context.Context, perSecond float64, act func()) {
	for pause(ctx, time.Duration(rand.ExpFloat64()/perSecond*float64(time.Second))) {
		act()
	}
}

// pause waits, and tells whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *soaking) anyEven() *talk { return s.talks[rand.IntN(s.even)] }
func (s *soaking) anyAway() *talk { return s.talks[s.even+rand.IntN(len(s.talks)-s.even)] }

// anyone is a steady person who is signed in; nil when there is none.
func (s *soaking) anyone() *session { return s.people[rand.IntN(s.steady)].there() }

// collect brings everyone who is away back and waits, a minute at most, for all that was acknowledged and for the ends of
// calls.
func (s *soaking) collect(ctx context.Context) {
	var back sync.WaitGroup
	for _, p := range s.people[s.steady:] {
		back.Go(func() {
			if _, err := p.arrive(3600); err != nil {
				s.trial.problem("coming back at the end: %v", err)
			}
		})
	}
	back.Wait()
	began := now()
	for range 600 {
		waiting := s.so.settle > 0 && s.underWay.Load() > 0
		if slices.ContainsFunc(s.talks, (*talk).waits) {
			waiting, s.drain = true, now()-began
		}
		if !waiting || !pause(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// explain finds out what is known of what did not arrive, while everyone is still there. The first ten will do.
func (s *soaking) explain(ctx context.Context) {
	for _, t := range s.talks {
		for _, m := range t.unheard() {
			if len(s.missing) == 10 {
				return
			}
			s.missing = append(s.missing, m.Explain(ctx, s.api))
		}
	}
}

// leave signs everyone out and closes all that is open.
func (s *soaking) leave() {
	s.left.Store(true)
	var out sync.WaitGroup
	for _, ses := range s.open() {
		out.Go(func() { ses.leave(signOut) })
	}
	out.Wait()
	s.trial.shared.Readers.Wait()
	for _, c := range s.leaked {
		_ = c.Close() // what was leaked on purpose was judged already
	}
}

// held is what a server holds for people, and lets go when they have left: how much of it may be there all the same.
// The connections to PostgreSQL are a pool, as those to SQLite's files are.
var held = map[string]float64{
	"goroutines": 5, "fds_other": 25, "connections": 0, "bindings": 0, "subscriptions": 0, "calls": 0, "transactions": 0, "timers": 5, "log_queue": 0, "index_behind": 0,
}

// forgotten waits until the server holds no more than before.
func (s *soaking) forgotten(ctx context.Context, before soak.Sample) (soak.Sample, error) {
	for end := now() + s.so.settle; ; {
		if err := s.sample(); err != nil {
			return nil, err
		}
		after := s.last()
		over := false
		for name, spare := range held {
			over = over || after[name] > before[name]+spare
		}
		if !over || now() > end {
			return after, nil
		}
		if !pause(ctx, min(time.Second, s.so.every)) {
			return after, ctx.Err()
		}
	}
}

// outcome is the verdict as JSON.
type outcome struct {
	Time      string         `json:"time"`
	Hours     float64        `json:"hours"`
	Offered   float64        `json:"offered_per_s"`
	PerSecond float64        `json:"per_s"`
	CPU       float64        `json:"server_cpu"` // cores
	ToolCPU   float64        `json:"tool_cpu"`
	Talk      soakTally      `json:"messages"`
	Counts    map[string]int `json:"counts"`
	Problems  map[string]int `json:"problems"`
	Findings  []soak.Finding `json:"findings"`
	Drain     float64        `json:"drain_s"` // from when everyone was back until all was answered and had arrived, 60 at most
	Before    soak.Sample    `json:"before"`
	After     soak.Sample    `json:"after"` // everyone has left
	Wrong     []string       `json:"wrong"`
	Missing   []string       `json:"missing,omitempty"` // messages and receipts that were acknowledged and did not arrive, some of them
}

// report judges, writes the files and prints the tables.
func (s *soaking) report(before, after soak.Sample, hours float64) error {
	if hours == 0 {
		hours = (now() - s.began).Hours()
	}
	// The first third is warm-up: tables, caches and pools fill.
	list := soak.Judge(s.series, soak.Rules, hours/3, hours)
	r := &outcome{
		Time: time.Now().UTC().Format(time.RFC3339), Hours: hours, Offered: s.so.rate, Findings: list, Before: before, After: after,
		Talk: s.tally(), Drain: s.drain.Seconds(), Missing: s.missing,
	}
	s.mu.Lock()
	r.Counts = maps.Clone(s.counts)
	s.mu.Unlock()
	s.trial.mu.Lock()
	r.Problems = maps.Clone(s.trial.problems)
	s.trial.mu.Unlock()
	if _, cpu := s.series.Column("cpu_s", hours/3, hours); len(cpu) > 1 {
		times, own := s.series.Column("tool_cpu_s", hours/3, hours)
		seconds := (times[len(times)-1] - times[0]) * 3600
		r.CPU, r.ToolCPU = (cpu[len(cpu)-1]-cpu[0])/seconds, (own[len(own)-1]-own[0])/seconds
	}
	r.PerSecond = float64(r.Talk.Acked+r.Talk.Receipts+r.Counts["typing"]) / (hours * 3600)
	r.Wrong = s.wrong(r)
	errs := []error{s.writeSamples()}
	if s.o.json != "" {
		errs = append(errs, writeJSON(s.o.json, r))
	}
	if s.o.json != "-" {
		r.print(os.Stdout)
	}
	for _, w := range r.Wrong {
		errs = append(errs, errors.New("load: soak: "+w))
	}
	return errors.Join(errs...)
}

// wrong is what must not be, in words.
func (s *soaking) wrong(r *outcome) []string {
	var list []string
	add := func(n int, what string) {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(r.Talk.Lost, "messages acknowledged and lost")
	add(r.Talk.Doubled, "messages received twice by one connection")
	add(r.Talk.OutOfOrder, "messages out of order")
	add(r.Talk.Voided, "messages refused and received all the same")
	add(r.Talk.Unknown, "messages received and never sent")
	add(r.Talk.ReceiptsLost, "receipts acknowledged and lost")
	for _, what := range slices.Sorted(maps.Keys(r.Problems)) {
		add(r.Problems[what], "× "+what)
	}
	for _, f := range r.Findings {
		if f.Grows {
			list = append(list, fmt.Sprintf("%s grows by %.2f an hour, %.1f is allowed", f.Column, f.Left(), f.Limit))
		}
	}
	if r.After == nil {
		return append(list, "the server ended")
	}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		if s.so.settle > 0 && r.After[name] > r.Before[name]+held[name] {
			list = append(list, fmt.Sprintf("%s: %.0f before, %.0f after everyone has left", name, r.Before[name], r.After[name]))
		}
	}
	if said := float64(r.Talk.Acked + r.Talk.Receipts); r.After["messages_recorded"] < said {
		list = append(list, fmt.Sprintf("%.0f messages and receipts acknowledged, %.0f recorded", said, r.After["messages_recorded"]))
	}
	add(int(r.After["panics"]), "panics")
	return list
}

func (r *outcome) print(w io.Writer) {
	fmt.Fprintf(w, "soak of %.2f h ended %s: %.0f/s offered, %.1f/s acknowledged, server %.0f %% of a core, tool %.0f %%\n\n",
		r.Hours, r.Time, r.Offered, r.PerSecond, r.CPU*100, r.ToolCPU*100)
	_ = soak.Table(w, r.Findings) // nobody reads what cannot be written
	text, _ := json.Marshal(r.Talk)
	fmt.Fprintf(w, "\nmessages: %s\nthe last arrived %.1f s after everyone was back\n", text, r.Drain)
	fmt.Fprint(w, "beside them:")
	for _, what := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(w, " %s %d,", what, r.Counts[what])
	}
	fmt.Fprintln(w, "\n\nbefore anyone came, and after everyone had left:")
	for _, name := range slices.Sorted(maps.Keys(r.After)) {
		fmt.Fprintf(w, "  %s %.6g → %.6g\n", name, r.Before[name], r.After[name])
	}
	early := slices.ContainsFunc(r.Findings, func(f soak.Finding) bool { return f.Early })
	switch {
	case len(r.Wrong) == 0 && early:
		fmt.Fprintln(w, "\nFLAT, as far as so short a time tells: nothing was lost, doubled or out of order.")
	case len(r.Wrong) == 0:
		fmt.Fprintln(w, "\nFLAT: nothing grows, nothing was lost, doubled or out of order.")
	}
	for _, text := range r.Wrong {
		fmt.Fprintln(w, "\nWRONG: "+text)
	}
	for _, text := range r.Missing {
		fmt.Fprintln(w, "\nMISSING: "+text)
	}
}
