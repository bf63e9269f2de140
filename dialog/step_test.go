package dialog

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

// steps is a Source with all that a Source may have. What it has to tell is a
// list of words: full is all of them, a step those that are new, in parts of
// at most part words.
type steps struct {
	mu     sync.Mutex
	words  []string
	part   int // 0: any number
	decide Decision
	body   string // of the last SUBSCRIBE
	ended  []string
	inside func() // called by Next
}

func (p *steps) Authorize(*Subscription, func(Decision)) { panic("an Asker is asked") }
func (p *steps) State(*Subscription) (string, []byte)    { panic("a Stepper steps") }

func (p *steps) Ask(s *Subscription, m *sip.Message, done func(Decision)) {
	p.mu.Lock()
	p.body = string(m.Body())
	d := p.decide
	p.mu.Unlock()
	s.SetData(new(int)) // how many words the watcher has
	done(d)
}

func (p *steps) Next(s *Subscription, full bool) (contentType string, body []byte, more, ok bool) {
	p.mu.Lock()
	inside := p.inside
	p.mu.Unlock()
	if inside != nil {
		inside()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := s.Data().(*int)
	kind := "step"
	if full {
		*at, kind = 0, "full"
	}
	if *at == len(p.words) {
		return "", nil, false, false
	}
	list := p.words[*at:]
	if p.part > 0 && len(list) > p.part {
		list, more = list[:p.part], true
	}
	*at += len(list)
	return "application/reginfo+xml", fmt.Appendf(nil, "%s v%d %s", kind, s.Version(), strings.Join(list, " ")), more, true
}

func (p *steps) Ended(s *Subscription) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, s.ID().CallID)
}

func (p *steps) add(r *rig, words ...string) {
	p.mu.Lock()
	p.words = append(p.words, words...)
	p.mu.Unlock()
	r.n.Notify("bob@example.com")
	synctest.Wait()
}

func (p *steps) over(t *testing.T, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ended) != want {
		t.Errorf("%d have ended, want %d", len(p.ended), want)
	}
}

// Partial state: full at first and after each SUBSCRIBE, else what is new.
func TestSteps(t *testing.T) {
	p := &steps{words: []string{"a"}, decide: Decision{Require: "eventlist", Headers: [][2]string{{"X-Note", "x"}}}}
	run(t, Options{Source: p}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		ok := r.status(200)
		if ok.Get(sip.HRequire) != "eventlist" || !strings.Contains(text(ok), "X-Note: x\r\n") { // RFC 4662 §4.1
			t.Errorf("200:\n%s", text(ok))
		}
		n := r.notify("active;expires=3600", "full v0 a")
		if n.Get(sip.HRequire) != "eventlist" {
			t.Errorf("NOTIFY:\n%s", text(n))
		}
		r.answer(n, 200)
		p.add(r, "b")
		n = r.notify("active;expires=3600", "step v1 b")
		p.add(r, "c")
		p.add(r, "d")
		r.quiet()
		r.answer(n, 200)
		r.answer(r.notify("active;expires=3600", "step v2 c d"), 200)
		// Nothing new is not told.
		p.add(r)
		r.quiet()
		// A refresh asks for all.
		r.subscribe("2", "2", ok.ToTag(), "Expires: 600")
		if m := r.status(200); m.Get(sip.HRequire) != "eventlist" {
			t.Errorf("200:\n%s", text(m))
		}
		r.answer(r.notify("active;expires=600", "full v3 a b c d"), 200)
		p.over(t, 0)
		r.subscribe("3", "3", ok.ToTag(), "Expires: 0")
		r.status(200)
		r.answer(r.notify("terminated;reason=timeout", "full v4 a b c d"), 200)
		r.count(0)
		p.over(t, 1)
	})
}

// With nothing to tell, a SUBSCRIBE is answered with an empty NOTIFY.
func TestStepsNothing(t *testing.T) {
	p := &steps{}
	run(t, Options{Source: p}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		tag := r.status(200).ToTag()
		r.answer(r.notify("active;expires=3600", ""), 200)
		r.subscribe("2", "2", tag)
		r.status(200)
		r.answer(r.notify("active;expires=3600", ""), 200)
		p.add(r, "a")
		r.answer(r.notify("active;expires=3600", "step v2 a"), 200)
		// The end is told also when there is nothing new.
		r.n.TerminateWatcher("nobody@example.com", "rejected")
		r.quiet()
		r.n.TerminateWatcher("alice@example.com", "deactivated")
		r.answer(r.notify("terminated;reason=deactivated", ""), 200)
		p.over(t, 1)
	})
}

// Parts follow each other as soon as they are accepted, and before the end.
func TestStepsParts(t *testing.T) {
	p := &steps{words: strings.Fields("a b c d e"), part: 2}
	run(t, Options{Source: p, Interval: 5 * time.Second}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		r.status(200)
		n := r.notify("active;expires=3600", "full v0 a b")
		r.quiet()
		r.answer(n, 200)
		r.answer(r.notify("active;expires=3600", "step v1 c d"), 200)
		r.answer(r.notify("active;expires=3600", "step v2 e"), 200)
		p.add(r, "f", "g", "h")
		r.quiet() // the interval
		time.Sleep(5 * time.Second)
		r.answer(r.notify("active;expires=3595", "step v3 f g"), 200)
		// A part that is refused begins the whole again.
		r.answer(r.notify("active;expires=3595", "step v4 h"), 500)
		r.quiet()
		time.Sleep(firstRetry)
		r.answer(r.notify("active;expires=3565", "full v5 a b"), 200)
		for i, body := range []string{"c d", "e f", "g h"} {
			n = r.next()
			if got := string(n.Body()); got != fmt.Sprintf("step v%d %s", 6+i, body) {
				t.Fatal(got)
			}
			r.answer(n, 200)
		}
		r.quiet()
	})
	run(t, Options{Source: &steps{words: strings.Fields("a b c"), part: 2}}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "", "Expires: 0")
		r.status(200)
		r.answer(r.notify("active;expires=0", "full v0 a b"), 200)
		r.answer(r.notify("terminated;reason=timeout", "step v1 c"), 200)
		r.count(0)
	})
	// A watcher that refuses what it asked for is not told for ever.
	run(t, Options{Source: &steps{words: strings.Fields("a b c"), part: 2}}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "", "Expires: 0")
		r.status(200)
		r.answer(r.notify("active;expires=0", "full v0 a b"), 500)
		r.answer(r.notify("terminated;reason=timeout", "full v1 a b"), 500)
		r.count(0)
	})
}

// What a watcher refuses is told again, in full, after growing times.
func TestStepsRefused(t *testing.T) {
	p := &steps{words: []string{"a"}}
	run(t, Options{Source: p}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "", "Expires: 86400")
		r.status(200)
		n := r.next()
		for i, wait := range []int{30, 60, 120, 240, 480, 960, 1800, 1800} {
			r.answer(n, 503)
			time.Sleep(time.Duration(wait)*time.Second - 100*time.Millisecond)
			r.quiet()
			time.Sleep(200 * time.Millisecond)
			n = r.next()
			if n == nil || string(n.Body()) != fmt.Sprintf("full v%d a", i+1) {
				t.Fatalf("after %d s: %s", wait, text(n))
			}
		}
		// A change does not wait, nor longer than the watcher asks for.
		r.answer(n, 503)
		p.add(r, "b")
		n = r.next()
		if string(n.Body()) != "full v9 a b" {
			t.Fatal(text(n))
		}
		r.answer(n, 503, "Retry-After: 5")
		time.Sleep(5 * time.Second)
		n = r.next()
		if string(n.Body()) != "full v10 a b" {
			t.Fatal(text(n))
		}
		r.answer(n, 200)
		time.Sleep(time.Hour)
		r.quiet()
		p.add(r, "c")
		if n = r.next(); string(n.Body()) != "step v11 c" {
			t.Fatal(text(n))
		}
	})
}

// Somebody has to be asked first: nothing is shown, then everything.
func TestStepsPending(t *testing.T) {
	p := &steps{words: []string{"a"}, decide: Decision{State: Pending}}
	run(t, Options{Source: p}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		r.status(200)
		r.answer(r.notify("pending;expires=3600", ""), 200)
		p.add(r, "b")
		r.quiet()
		r.n.WatchedBy("alice@example.com")[0].Allow()
		r.answer(r.notify("active;expires=3600", "full v1 a b"), 200)
		r.n.Watching("bob@example.com")[0].End("rejected", 0)
		r.answer(r.notify("terminated;reason=rejected", ""), 200)
	})
}

// An Asker sees the SUBSCRIBE; a list comes once. RFC 5367 §5.
func TestAsk(t *testing.T) {
	p := &steps{words: []string{"a"}, decide: Decision{Status: 415, Headers: [][2]string{{"Accept", "application/resource-lists+xml"}}}}
	run(t, Options{Source: p}, func(t *testing.T, r *rig) {
		list := []string{"Content-Type: application/resource-lists+xml", "Content-Length: 7\n\n<lists>"}
		send := func(branch, cseq, to string) {
			if to != "" {
				to = ";tag=" + to
			}
			m := parse(t, "SUBSCRIBE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/TCP 198.51.100.7;branch=z9hG4bK"+branch+
				"\nMax-Forwards: 70\nFrom: <sip:alice@example.com>;tag=a1\nTo: <sip:bob@example.com>"+to+"\nCall-ID: s1\nCSeq: "+cseq+
				" SUBSCRIBE\nEvent: reg\nContact: <sip:alice@198.51.100.7;transport=tcp>\n"+strings.Join(list, "\n"))
			r.l.Message(m, r.flow)
			synctest.Wait()
		}
		send("1", "1", "")
		if m := r.status(415); m.Get(sip.HAccept) != "application/resource-lists+xml" {
			t.Errorf("415:\n%s", text(m))
		}
		p.decide = Decision{Status: 421, Require: "eventlist"}
		send("2", "2", "")
		if m := r.status(421); m.Get(sip.HRequire) != "eventlist" {
			t.Errorf("421:\n%s", text(m))
		}
		p.over(t, 0)
		p.decide = Decision{}
		send("3", "3", "")
		if p.body != "<lists>" {
			t.Errorf("body %q", p.body)
		}
		tag := r.status(200).ToTag()
		r.answer(r.notify("active;expires=3600", "full v0 a"), 200)
		send("4", "4", tag)
		r.status(415)
		r.quiet()
		r.count(1)
	})
}

// Ended comes when no Next runs, once.
func TestEndedAfterNext(t *testing.T) {
	p := &steps{words: []string{"a"}}
	run(t, Options{Source: p}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		r.status(200)
		r.answer(r.notify("active;expires=3600", "full v0 a"), 200)
		s := r.n.Watching("bob@example.com")[0]
		p.inside = func() { s.remove(); p.over(t, 0) }
		p.add(r, "b")
		p.over(t, 1)
		r.count(0)
		r.quiet()
		p.inside = nil
		s.Notify()
		s.End("rejected", 0)
		r.quiet()
		p.over(t, 1)
	})
}

// The first change goes out at once, what comes within the interval in one
// NOTIFY at its end, whatever the answers take. RFC 3856 §6.10.
func TestJoin(t *testing.T) {
	const second = time.Second
	for name, row := range map[string]struct {
		changes []time.Duration // after a quiet time
		slow    time.Duration   // what the answer takes
		want    []time.Duration // when there is a NOTIFY
	}{
		"one":           {[]time.Duration{0}, 0, []time.Duration{0}},
		"two":           {[]time.Duration{0, second}, 0, []time.Duration{0, 5 * second}},
		"many":          {[]time.Duration{0, second, 2 * second, 3 * second, 4 * second}, 0, []time.Duration{0, 5 * second}},
		"later":         {[]time.Duration{0, 6 * second, 7 * second}, 0, []time.Duration{0, 6 * second, 11 * second}},
		"slow answer":   {[]time.Duration{0, second}, 3 * second, []time.Duration{0, 5 * second}},
		"slower answer": {[]time.Duration{0, second}, 8 * second, []time.Duration{0, 8 * second}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &steps{}
			run(t, Options{Source: p, Interval: 5 * second}, func(t *testing.T, r *rig) {
				r.subscribe("1", "1", "")
				r.status(200)
				r.answer(r.next(), 200)
				time.Sleep(time.Minute)
				start := time.Now()
				for _, at := range row.changes {
					time.AfterFunc(at, func() {
						p.mu.Lock()
						p.words = append(p.words, fmt.Sprint(at))
						p.mu.Unlock()
						r.n.Notify("bob@example.com")
					})
				}
				var got []time.Duration
				words := 0
				for time.Since(start) < 30*second {
					synctest.Wait()
					if m := r.next(); m != nil {
						got = append(got, time.Since(start).Truncate(second))
						words += len(strings.Fields(string(m.Body()))) - 2
						time.Sleep(row.slow)
						r.answer(m, 200)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if fmt.Sprint(got) != fmt.Sprint(row.want) || words != len(row.changes) {
					t.Errorf("NOTIFYs at %v with %d words, want %v", got, words, row.want)
				}
			})
		})
	}
}

// many lets count watchers of their own subscribe.
func (r *rig) many(count int) {
	for i := range count {
		m := parse(r.t, fmt.Sprintf("SUBSCRIBE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/TCP 198.51.100.7;branch=z9hG4bKm%d\nMax-Forwards: 70\n"+
			"From: <sip:w%d@example.com>;tag=a1\nTo: <sip:bob@example.com>\nCall-ID: m%d\nCSeq: 1 SUBSCRIBE\n"+
			"Contact: <sip:w%d@198.51.100.7;transport=tcp>\nEvent: reg\nContent-Length: 0\n\n", i, i, i, i))
		r.l.Message(m, r.flow)
	}
	synctest.Wait()
}

// drain answers all that has come, and counts the NOTIFYs.
func (r *rig) drain() (count int, last *sip.Message) {
	for {
		synctest.Wait()
		r.mu.Lock()
		list := r.inbox
		r.inbox = nil
		r.mu.Unlock()
		if len(list) == 0 {
			return count, last
		}
		for _, b := range list {
			m, err := sip.Parse(append([]byte(nil), b...))
			if err != nil {
				r.t.Fatal(err)
			}
			if m.IsRequest() {
				count, last = count+1, m
				r.answer(m, 200)
			}
		}
	}
}

// A Source that panics loses one subscription, and holds up nobody.
func TestStepsPanic(t *testing.T) {
	for _, rate := range []int{0, 10} {
		p := &steps{words: []string{"a"}}
		run(t, Options{Source: p, Rate: rate}, func(t *testing.T, r *rig) {
			r.many(3)
			time.Sleep(time.Second)
			r.drain()
			bad := true
			p.mu.Lock()
			p.inside = func() {
				if bad {
					bad = false
					panic("test")
				}
			}
			p.words = append(p.words, "b")
			p.mu.Unlock()
			for _, s := range r.n.Watching("bob@example.com") {
				func() {
					defer func() { _ = recover() }()
					s.Notify()
				}()
			}
			time.Sleep(time.Second)
			if n, _ := r.drain(); n != 2 {
				t.Errorf("%d NOTIFYs", n)
			}
			r.count(2)
			p.over(t, 1)
		})
	}
}

// A storm leaves at the rate, in the order of the classes, and all is told.
func TestRate(t *testing.T) {
	p := &steps{words: []string{"a"}}
	run(t, Options{Source: p, Rate: 100}, func(t *testing.T, r *rig) {
		const count = 500
		r.many(count)
		r.count(count)
		sent := 0
		for second := 1; sent < count; second++ {
			time.Sleep(time.Second)
			n, _ := r.drain()
			sent += n
			if second > 10 || sent > 100*second+20 {
				t.Fatalf("%d NOTIFYs after %d s", sent, second)
			}
		}
		if r.n.queue.len() != 0 {
			t.Error("something waits")
		}
		// Ten changes for everybody: nobody waits twice, and the last one is told.
		time.Sleep(time.Second)
		for i := range 10 {
			p.add(r, fmt.Sprint("c", i))
		}
		if waiting := r.n.queue.len(); waiting < count-20 || waiting > count {
			t.Errorf("%d wait", waiting)
		}
		r.drain()
		// An answer to a SUBSCRIBE overtakes them, an end even more.
		s := r.n.WatchedBy("w499@example.com")[0]
		r.subscribe("x", "1", "")
		time.Sleep(50 * time.Millisecond)
		r.drain()
		if n := r.n.WatchedBy("alice@example.com"); len(n) != 1 || n[0].Version() != 1 {
			t.Error("the SUBSCRIBE waits for its NOTIFY")
		}
		s.End("rejected", 0)
		if _, m := r.drain(); m == nil || m.Get(sip.HSubscriptionState) != "terminated;reason=rejected" {
			t.Errorf("the end waits: %s", text(m))
		}
		r.count(count) // alice has come, w499 has gone
		for range 7 {
			time.Sleep(time.Second)
			r.drain()
		}
		for _, s := range r.n.Watching("bob@example.com") {
			if got := *s.Data().(*int); got != 11 {
				t.Fatalf("%s has %d words", s.ID().CallID, got)
			}
		}
		// Everybody's end takes a second's worth at once, the rest comes at the rate.
		r.n.Terminate(func(*Subscription) bool { return true }, "noresource")
		if n, _ := r.drain(); n < 100 || n > 120 {
			t.Errorf("%d ends at once", n)
		}
		for range 6 {
			time.Sleep(time.Second)
			r.drain()
		}
		r.count(0)
		p.over(t, count+1)
	})
}

// Those who have nothing to be told cost no token, however many wait in front.
func TestRateNothing(t *testing.T) {
	p := &steps{words: []string{"a"}}
	run(t, Options{Source: p, Rate: 100}, func(t *testing.T, r *rig) {
		const count = 4 * pumpMost
		r.many(count)
		for range count/100 + 2 {
			time.Sleep(time.Second)
			r.drain()
		}
		r.n.queue.mu.Lock()
		r.n.queue.fill()
		r.n.queue.tokens = 0
		r.n.queue.mu.Unlock()
		for _, s := range r.n.Watching("bob@example.com") {
			s.Notify()
		}
		if n := r.n.queue.len(); n < count-1 {
			t.Errorf("%d wait", n)
		}
		time.Sleep(time.Second)
		if n := r.n.queue.len(); n != 0 {
			t.Errorf("%d wait for nothing", n)
		}
		if n, _ := r.drain(); n != 0 {
			t.Errorf("%d NOTIFYs", n)
		}
	})
}

// Those who are gone leave the queue, and what is not sent costs nothing.
func TestRateGone(t *testing.T) {
	p := &steps{words: []string{"a"}}
	run(t, Options{Source: p, Rate: 10}, func(t *testing.T, r *rig) {
		r.many(50)
		for range 7 {
			time.Sleep(time.Second)
			r.drain()
		}
		p.add(r) // nothing is new, so nobody waits
		if n := r.n.queue.len(); n != 0 {
			t.Errorf("%d wait for nothing", n)
		}
		p.add(r, "b")
		if n := r.n.queue.len(); n < 45 {
			t.Errorf("%d wait", n)
		}
		for _, s := range r.n.Watching("bob@example.com") {
			s.remove()
		}
		if n := r.n.queue.len(); n != 0 {
			t.Errorf("%d wait who are gone", n)
		}
		r.count(0)
	})
}

// A SUBSCRIBE that comes while a body is being made is told everything, although that body was to be the news alone.
func TestRefreshWhileStepping(t *testing.T) {
	p := &steps{words: []string{"a"}}
	run(t, Options{Source: p}, func(t *testing.T, r *rig) {
		r.subscribe("1", "1", "")
		tag := r.status(200).ToTag()
		r.answer(r.notify("active;expires=3600", "full v0 a"), 200)
		making, goOn := make(chan bool), make(chan bool)
		p.mu.Lock()
		p.inside = func() {
			p.mu.Lock()
			p.inside = nil
			p.mu.Unlock()
			close(making)
			<-goOn
		}
		p.words = append(p.words, "b")
		p.mu.Unlock()
		go r.n.Notify("bob@example.com")
		<-making
		r.subscribe("2", "2", tag)
		close(goOn)
		synctest.Wait()
		time.Sleep(20 * time.Millisecond) // afterResponse
		synctest.Wait()
		last := ""
		for m := r.next(); m != nil; m = r.next() {
			if m.IsRequest() {
				last = string(m.Body())
				r.answer(m, 200)
			}
		}
		if !strings.HasPrefix(last, "full ") {
			t.Errorf("the watcher was told %q", last)
		}
	})
}
