package dialog

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// heap is what lives.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// crowd makes subscriptions on the way they come: a SUBSCRIBE, the NOTIFY
// and its 200, in a layer whose timers run.
type crowd struct {
	*rig
	link  transport.Flow
	steps *steps
}

func newCrowd(t testing.TB, o Options) *crowd {
	c := &crowd{steps: &steps{words: []string{"a"}}}
	o.Source, o.PerWatcher, o.Total = c.steps, 10, 1<<20
	c.rig = newRig(t, o)
	c.link = transport.Pipe(transport.PipeOptions{Kind: transport.TCP, Local: us, Remote: netip.MustParseAddrPort("198.51.100.7:49152"), Send: func(b []byte) error {
		m, err := sip.Parse(append([]byte(nil), b...))
		if err != nil {
			return err
		}
		if m.IsRequest() {
			resp, err := sip.NewResponse(m, 200, "").Message()
			if err != nil {
				return err
			}
			go c.l.Message(resp, c.link)
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.l.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// text is the SUBSCRIBE of person i, with a To tag to refresh.
func (c *crowd) text(i, cseq int, tag, resource string) string {
	if tag != "" {
		tag = ";tag=" + tag
	}
	return fmt.Sprintf("SUBSCRIBE sip:%s@example.com SIP/2.0\nVia: SIP/2.0/TCP 198.51.100.7:49152;branch=z9hG4bK-%d-1---%016x;rport\nMax-Forwards: 70\n"+
		"From: \"Person %d\" <sip:person%d@example.com>;tag=%08x\nTo: <sip:%s@example.com>%s\nCall-ID: %032x@198.51.100.7\nCSeq: %d SUBSCRIBE\n"+
		"Contact: <sip:person%d@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-%012x>\nEvent: reg\n"+
		"Accept: application/pidf+xml, application/rlmi+xml, multipart/related, application/reginfo+xml\nContent-Length: 0\n\n",
		resource, cseq, i, i, i, i, resource, tag, i, cseq, i, i)
}

// subscribe makes the subscriptions from number a to before b, and returns when
// each has been told.
func (c *crowd) subscribe(a, b int) {
	for i := a; i < b; i++ {
		c.l.Message(parse(c.t, c.text(i, 1, "", fmt.Sprint("person", i))), c.link)
	}
	for s := range c.quietly() {
		time.Sleep(s)
	}
}

// quietly waits until no transaction is left, at most a minute.
func (c *crowd) quietly() func(func(time.Duration) bool) {
	return func(yield func(time.Duration) bool) {
		for range 6000 {
			c.n.mu.Lock()
			held := 0
			for _, s := range c.n.byTag {
				s.mu.Lock()
				if s.is.held || s.is.inFlight {
					held++
				}
				s.mu.Unlock()
				if held > 0 {
					break
				}
			}
			c.n.mu.Unlock()
			if _, client := c.l.InFlight(); held == 0 && client == 0 {
				return
			}
			if !yield(10 * time.Millisecond) {
				return
			}
		}
		c.t.Fatal("NOTIFYs are left")
	}
}

// BenchmarkMemory reports what an idle subscription costs among 100,000, with
// its dialog, timer and tables, without what the Source keeps.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		c := newCrowd(b, Options{Interval: 5 * time.Second, Rate: 1_000_000})
		const count = 100_000
		c.subscribe(0, 1000) // pools and tables have their first size
		before := heap()
		for i := 1000; i < count; i += 1000 {
			c.subscribe(i, i+1000)
		}
		after := heap()
		if n := c.n.Len(); n != count {
			b.Fatalf("%d subscriptions", n)
		}
		b.ReportMetric(float64(after-before)/(count-1000), "B/subscription")
		runtime.KeepAlive(c)
	}
}

// BenchmarkNotify is one change to 200 watchers, with their answers: the time is
// that of one NOTIFY, the watcher's side included.
func BenchmarkNotify(b *testing.B) {
	c := newCrowd(b, Options{})
	const count = 200
	for i := range count {
		c.l.Message(parse(b, c.text(i, 1, "", "bob")), c.link)
	}
	for s := range c.quietly() {
		time.Sleep(s)
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += count {
		c.steps.mu.Lock()
		c.steps.words = append(c.steps.words[:0], fmt.Sprint(n), fmt.Sprint(n+1))
		c.steps.mu.Unlock()
		for _, s := range c.n.Watching("bob@example.com") {
			*s.Data().(*int) = 1
		}
		c.n.Notify("bob@example.com")
		for s := range c.quietly() {
			time.Sleep(s / 10)
		}
	}
}
