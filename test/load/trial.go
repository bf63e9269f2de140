package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/test/load/gauge"
	"github.com/parley-im/parley/test/load/ledger"
	"github.com/parley-im/parley/test/load/pace"
	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

// A trial is one row being measured.
type trial struct {
	o       *options
	row     row
	id      string // unlike that of other trials on the same server
	target  *target
	clients []*ua.Client
	talkers []talker // the same users, when they do not speak SIP; then the clients never connect
	driver  *pace.Driver
	ledger  *ledger.Ledger
	shared  ua.Run // by the clients
	gone    sync.Once
	out     io.Writer // progress

	from, to atomic.Int64 // the measured part: units that fall due in it count for latency
	done     atomic.Int64 // units acknowledged

	receipt, ack *gauge.Histogram
	unknown      atomic.Int64 // received, never sent

	mu       sync.Mutex // guards what follows
	statuses map[int]int
	problems map[string]int
}

func newTrial(o *options, r row, t *target) *trial {
	t1 := &trial{
		o: o, row: r, target: t, id: strconv.FormatInt(time.Now().UnixNano()&0xffffffffff, 36), out: os.Stderr,
		receipt: &gauge.Histogram{}, ack: &gauge.Histogram{}, statuses: map[int]int{}, problems: map[string]int{},
	}
	if o.quiet {
		t1.out = io.Discard
	}
	t1.shared.ID, t1.shared.Problem, t1.shared.Received, t1.shared.Rang = t1.id, t1.problem, t1.received, t1.rang
	for i := range o.usersOf(r) {
		name := o.user + strconv.Itoa(i)
		t1.clients = append(t1.clients, ua.New(&t1.shared, i, name, o.password+strconv.Itoa(i), o.domain))
	}
	t1.addTalkers()
	return t1
}

// problem counts what should not happen, by its text.
func (t *trial) problem(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if i := strings.Index(text, "127.0.0.1:"); i >= 0 { // addresses differ for each connection
		text = text[:i] + "…"
	}
	t.problems[text]++
}

func (t *trial) status(code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.statuses[code]++
}

// measured tells whether what was due then counts.
func (t *trial) measured(due time.Duration) bool {
	return t.from.Load() != 0 && int64(due) >= t.from.Load() && int64(due) < t.to.Load()
}

// acknowledge notes the final response of a unit.
func (t *trial) acknowledge(due time.Duration, m *sip.Message) (ok bool) {
	at := now()
	if m == nil {
		t.status(0)
		return false
	}
	t.status(m.Status())
	if m.Status()/100 != 2 {
		t.problem("%s got %d %s %s", m.Method(), m.Status(), m.Reason(), m.Get(sip.HWarning))
		return false
	}
	t.done.Add(1)
	if t.measured(due) {
		t.ack.Add(at - due)
	}
	return true
}

// run measures the row.
func (t *trial) run(ctx context.Context) (*result, error) {
	ticks, stopTicks := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopTicks()
	wg.Go(func() { t.tick(ticks) })
	res := &result{
		Mode: t.o.mode, Transport: t.row.transport, InFlight: t.row.inFlight, Rate: t.row.rate, Users: len(t.clients),
		Size: t.o.size, Ready: t.target.ready.Seconds() * 1000, Started: time.Now().UTC().Format(time.RFC3339),
	}
	var err error
	if res.MemoryBefore, err = gauge.Measure(t.target.pids, true); err != nil {
		return nil, err
	}
	if before, err := gauge.Scrape(t.target.metrics); err == nil {
		res.GoroutinesBefore = int(before["go_goroutines"])
	}
	defer t.disconnect()
	if t.o.mode != "register" {
		if err := t.signInSteps(ctx, res); err != nil {
			return nil, err
		}
	}
	switch t.o.mode {
	case "idle":
		err = t.idle(ctx, res)
	default:
		err = t.load(ctx, res)
	}
	if err != nil {
		return nil, err
	}
	if m, err := gauge.Scrape(t.target.metrics); err == nil {
		res.Goroutines, res.HeapMB, res.StackMB = int(m["go_goroutines"]), m["go_memstats_heap_inuse_bytes"]/(1<<20), m["go_memstats_stack_inuse_bytes"]/(1<<20)
	}
	t.disconnect()
	t.leftOver(res)
	t.finish(res)
	return res, ctx.Err()
}

// load runs the mode's units: warm-up, measured part, end.
func (t *trial) load(ctx context.Context, res *result) error {
	warmup := t.o.warmup
	switch t.o.mode {
	case "message":
		t.ledger = ledger.New(len(t.clients) / 2)
		t.driver = pace.New(len(t.clients)/2, t.pick(t.startMessage, t.startSaying()))
	case "call":
		t.ledger = ledger.New(len(t.clients) / 2)
		t.driver = pace.New(len(t.clients)/2, t.startCall)
	case "reregister":
		t.driver = pace.New(len(t.clients), t.startReregister)
	case "register":
		t.driver = pace.New(len(t.clients), t.pick(t.startRegister, t.startTalker))
		t.driver.Limit(len(t.clients)) // each signs in once
		warmup = 0
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if warmup == 0 {
		t.open()
	}
	before, own, units, began, err := t.sample()
	if err != nil {
		return err
	}
	if t.row.rate > 0 {
		wg.Go(func() { t.driver.RunOpen(ctx, t.row.rate, pace.PreciseSleep()) })
	} else {
		t.driver.RunClosed(t.row.inFlight)
	}
	if warmup > 0 {
		t.wait(ctx, "warm-up", warmup)
		t.open()
		if before, own, units, began, err = t.sample(); err != nil {
			return err
		}
	}
	if t.o.count > 0 && t.o.mode != "register" {
		t.driver.More(t.o.count)
	}
	profiled := t.profile(res)
	t.wait(ctx, "measured", t.o.time)
	after, ownAfter, unitsAfter, ended, err := t.sample()
	if err != nil {
		return err
	}
	res.Seconds = (ended - began).Seconds()
	res.Done = int(unitsAfter - units)
	res.ServerCPU, res.ToolCPU = after.CPU-before.CPU, ownAfter-own
	if res.MemoryAfter, err = gauge.Measure(t.target.pids, true); err != nil {
		return err
	}
	res.IndexLag = t.indexLag(ctx)
	t.driver.Stop()
	t.settle(ctx)
	return <-profiled
}

// open begins the measured part.
func (t *trial) open() {
	at := int64(now())
	t.to.Store(at + int64(t.o.time))
	t.from.Store(at)
}

func (t *trial) sample() (u gauge.Usage, own float64, units int64, at time.Duration, err error) {
	u, err = gauge.Measure(t.target.pids, false)
	return u, gauge.OwnCPU(), t.done.Load(), now(), err
}

// wait lets the load run, and tells how it goes once a second.
func (t *trial) wait(ctx context.Context, what string, d time.Duration) {
	began, last := now(), t.done.Load()
	for second := 1; ; second++ {
		left := min(time.Second, began+d-now())
		if left <= 0 || ctx.Err() != nil {
			return
		}
		at := now()
		ended := t.pause(ctx, left)
		n := t.done.Load()
		under, waiting := t.driver.State()
		line := fmt.Sprintf("%-8s %3d s  %8.0f/s  under way %d", what, second, float64(n-last)/(now()-at).Seconds(), under)
		if waiting > 0 {
			line += fmt.Sprintf("  waiting %d", waiting)
		}
		if t.ack.Count() > 0 {
			line += fmt.Sprintf("  p99 %.2f ms", gauge.Milliseconds(t.ack.Percentile(99)))
		}
		fmt.Fprintln(t.out, line+t.failures())
		last = n
		if ended {
			return
		}
	}
}

// pause sleeps, but not beyond the end of all units.
func (t *trial) pause(ctx context.Context, d time.Duration) (ended bool) {
	limit := time.NewTimer(d)
	defer limit.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-limit.C:
			return false
		case <-poll.C:
			if t.driver.Exhausted() {
				return true
			}
		}
	}
}

// failures is what the progress lines say of them.
func (t *trial) failures() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for code, k := range t.statuses {
		if code/100 != 2 {
			n += k
		}
	}
	for _, k := range t.problems {
		n += k
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("  failures %d", n)
}

// settle waits for what is under way, and then for what was acknowledged and not yet received.
func (t *trial) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.o.drain)
	defer cancel()
	select {
	case <-t.driver.Idle():
	case <-ctx.Done():
	}
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for t.ledger != nil && t.ledger.Tally().Lost > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

// tick drives the clients' timers.
func (t *trial) tick(ctx context.Context) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			at := now()
			for _, c := range t.clients {
				c.Tick(at)
			}
		case <-ctx.Done():
			return
		}
	}
}

// profile takes the server's CPU profile of the measured part, and what it holds afterwards.
func (t *trial) profile(res *result) <-chan error {
	done := make(chan error, 1)
	if t.target.pprof == "" {
		close(done)
		return done
	}
	name := fmt.Sprintf("%s-%s-%d", res.Mode, res.Transport, max(res.InFlight, res.Rate))
	seconds := max(1, int(t.o.time.Seconds()))
	go func() {
		done <- errors.Join(
			t.target.fetchProfile(t.o, "profile?seconds="+strconv.Itoa(seconds), name+".cpu.pprof"),
			t.target.fetchProfile(t.o, "heap?gc=1", name+".heap.pprof"),
			t.target.fetchProfile(t.o, "allocs", name+".allocs.pprof"),
			t.target.fetchProfile(t.o, "goroutine?debug=1", name+".goroutines.txt"),
		)
		close(done)
	}()
	return done
}

// signIn connects and registers some of the users.
func (t *trial) signIn(ctx context.Context, clients []*ua.Client) error {
	began := now()
	const atOnce = 64
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	var failed atomic.Int64
	for i, c := range clients {
		if ctx.Err() != nil {
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := t.signInOne(c); err != nil {
				failed.Add(1)
				t.problem("signing in: %v", err)
			}
		})
		if (i+1)%2000 == 0 {
			fmt.Fprintf(t.out, "signing in %d of %d\n", i+1, len(clients))
		}
	}
	wg.Wait()
	fmt.Fprintf(t.out, "%s: %d users signed in after %.2f s\n", t.row.transport, len(clients)-int(failed.Load()), (now() - began).Seconds())
	if int(failed.Load()) == len(clients) || failed.Load() > 0 && t.o.mode != "idle" {
		return fmt.Errorf("load: %d of %d users could not sign in: %v", failed.Load(), len(clients), t.problems)
	}
	return ctx.Err()
}

func (t *trial) signInOne(c *ua.Client) error {
	if t.talkers != nil {
		return t.talkers[c.ID].SignIn(t.target.addrs[t.row.transport])
	}
	if err := c.Connect(t.row.transport, t.target.addrs[t.row.transport]); err != nil {
		return err
	}
	answered := make(chan int, 1)
	c.Register(3600, func(m *sip.Message) {
		if m == nil {
			answered <- 0
			return
		}
		answered <- m.Status()
	})
	if status := <-answered; status != 200 {
		return fmt.Errorf("load: REGISTER got %d", status)
	}
	return nil
}

// leftOver sees what the server still holds after everyone has gone. It gives the server two seconds to notice.
func (t *trial) leftOver(res *result) {
	for end := now() + 2*time.Second; now() < end; time.Sleep(100 * time.Millisecond) {
		m, err := gauge.Scrape(t.target.metrics)
		if err != nil || m == nil {
			return // it has no metrics
		}
		if res.GoroutinesAfter = int(m["go_goroutines"]); res.GoroutinesAfter <= res.GoroutinesBefore {
			return
		}
	}
}

// disconnect takes the bindings back, so that the server can be loaded again, and closes all links.
func (t *trial) disconnect() { t.gone.Do(t.disconnectAll) }

func (t *trial) disconnectAll() {
	if len(t.o.servers) > 0 {
		var wg sync.WaitGroup
		for _, c := range t.clients {
			if c.Link() == nil || c.Gone() {
				continue
			}
			wg.Add(1)
			c.Register(0, func(*sip.Message) { wg.Done() })
		}
		wg.Wait()
	}
	for _, c := range t.clients {
		c.Disconnect()
	}
	for _, c := range t.talkers {
		c.Close()
	}
	t.shared.Readers.Wait()
}
