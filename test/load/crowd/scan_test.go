package crowd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/rlmi"
	"github.com/parley-im/parley/wire/sip"
)

// seenState is what a scan tells of one document.
type seenState struct {
	who  int
	mark uint32
	open bool
}

func scanner() (r *reading, known *[]int, states *[]seenState) {
	known, states = &[]int{}, &[]seenState{}
	return &reading{
		prefix:   "u",
		resource: func(who int, there bool) { *known = append(*known, map[bool]int{true: who, false: -who}[there]) },
		state:    func(who int, mark uint32, open bool) { *states = append(*states, seenState{who, mark, open}) },
	}, known, states
}

// listBody is a list as the server's writer makes it: person 3 with a published document, 14 without a state, 15 offline,
// 926 with a composed document.
func listBody(t *testing.T, version uint32, full bool) (contentType string, body []byte) {
	t.Helper()
	composed := &pidf.Presence{
		Entity:  "pres:u926@load.test",
		Tuples:  []pidf.Tuple{{ID: "a", Basic: pidf.Closed}, {ID: "b", Basic: pidf.Open}},
		Persons: []pidf.Person{{ID: "p", Notes: []pidf.Note{{Text: "at work"}, {Text: "lm-926-77-"}}}},
	}
	offline := &pidf.Presence{Entity: "sip:u15@load.test", Tuples: []pidf.Tuple{{ID: "a", Basic: pidf.Closed}}}
	w := rlmi.NewWriter(nil, rlmi.Boundary([]byte("0123456789ab")), "load.test")
	w.Start("sip:contacts@load.test", version, full)
	w.Resource("sip:u3@load.test", "Three")
	w.Instance("1", rlmi.Active, "", 1)
	w.Resource("sip:u14@load.test", "")
	w.Resource("sip:u15@load.test", "")
	w.Instance("1", rlmi.Active, "", 2)
	w.Resource("sip:u16@load.test", "")
	w.Instance("1", rlmi.Terminated, "rejected", 0)
	w.Resource("sip:u926@load.test", "")
	w.Instance("1", rlmi.Active, "", 3)
	w.Part(pidf.ContentType, func(b []byte) []byte { return document(b, "sip:u3@load.test", 3, 5) })
	w.Part(pidf.ContentType, offline.Append)
	w.Part(pidf.ContentType, composed.Append)
	body, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return w.Type(), body
}

func TestScanList(t *testing.T) {
	for version, full := range map[uint32]bool{0: true, 4_000_000_000: false} {
		contentType, body := listBody(t, version, full)
		r, known, states := scanner()
		n, err := r.scanList(contentType, body)
		if err != nil || n != (notice{version: version, full: full, resources: 5, states: 3}) {
			t.Errorf("the list is %+v, error %v", n, err)
		}
		if !slices.Equal(*known, []int{3, -14, 15, 16, 926}) {
			t.Errorf("known are %v", *known)
		}
		if !slices.Equal(*states, []seenState{{3, 5, true}, {15, 0, false}, {926, 77, true}}) {
			t.Errorf("the states are %v", *states)
		}
	}
}

// What is not as it should be is noticed: nothing is taken for less than it is.
func TestScanBroken(t *testing.T) {
	contentType, body := listBody(t, 1, true)
	text := string(body)
	for name, c := range map[string]struct{ contentType, body string }{
		"no boundary":          {"multipart/related", text},
		"no list":              {contentType, strings.Replace(text, "<list", "<lisp", 1)},
		"no end":               {contentType, strings.Replace(text, "</list>", "", 1)},
		"no version":           {contentType, strings.Replace(text, `version="1"`, "", 1)},
		"an unknown name":      {contentType, strings.Replace(text, "sip:u14@", "sip:bob@", 1)},
		"a part is missing":    {contentType, text[:strings.LastIndex(text[:len(text)-60], "--parley")] + text[strings.LastIndex(text, "--parley"):]},
		"a state is missing":   {contentType, strings.Replace(text, `entity="sip:u15@`, `entity='sip:u15@`, 1)},
		"an id is missing":     {contentType, strings.Replace(text, " cid=", " cad=", 1)},
		"the end is cut":       {contentType, text[:len(text)-60]},
		"nothing":              {contentType, ""},
		"another's parts only": {contentType, text[strings.Index(text, "</list>"):]},
	} {
		r, _, _ := scanner()
		if n, err := r.scanList(c.contentType, []byte(c.body)); err == nil {
			t.Errorf("%s: it is read as %+v", name, n)
		}
	}
}

func TestScanStates(t *testing.T) {
	r, _, states := scanner()
	body := document(nil, "sip:u12@load.test", 12, 4_000_000_000)
	if _, err := pidf.Parse(body); err != nil {
		t.Errorf("what is published cannot be read: %v", err)
	}
	if n := r.scanStates(body); n != 1 || !slices.Equal(*states, []seenState{{12, 4_000_000_000, true}}) {
		t.Errorf("%d states: %v", n, *states)
	}
	for text, want := range map[string]uint32{"lm-12-7-": 7, "xlm-12-7-lm-12-8-": 7, "lm-13-7-": 0, "lm-12-7": 0, "lm--7-": 0, "lm-": 0, "lm-12-99999999999-": 0, "": 0} {
		if got := markOf([]byte(text), 12); got != want {
			t.Errorf("%q is mark %d, want %d", text, got, want)
		}
	}
	for value, want := range map[string]string{`a/b;boundary="x y";c=d`: "x y", "a/b; boundary=xy;c=d": "xy", "a/b": ""} {
		if got := parameter(value, "boundary"); got != want {
			t.Errorf("the boundary of %q is %q", value, got)
		}
	}
}

// Everybody has as many contacts, is in as many lists, and is a contact of those.
func TestCircle(t *testing.T) {
	for _, size := range [][2]int{{3, 2}, {20, 4}, {20, 18}, {21, 20}, {1000, 50}} {
		n, k := size[0], size[1]
		c := newCircle(n, k)
		in := make([]int, n)
		for i := range n {
			for j := range k {
				who := c.contact(i, j)
				in[who]++
				if slot, ok := c.slot(i, who); !ok || slot != j || who == i {
					t.Fatalf("%v: contact %d of %d is %d, whose place is %d, %v", size, j, i, who, slot, ok)
				}
				if _, ok := c.slot(who, i); !ok {
					t.Fatalf("%v: %d has %d, and not the other way", size, i, who)
				}
			}
			if _, ok := c.slot(i, i); ok {
				t.Fatalf("%v: %d is a contact of itself", size, i)
			}
		}
		for i, got := range in {
			if got != k {
				t.Fatalf("%v: %d is in %d lists", size, i, got)
			}
		}
	}
	order := shuffled(1000)
	if slices.IsSorted(order) || !slices.Equal(order, shuffled(1000)) {
		t.Errorf("the order is %v", order)
	}
	slices.Sort(order)
	if order = slices.Compact(order); len(order) != 1000 || order[999] != 999 {
		t.Errorf("%d of 1000 are in it", len(order))
	}
}

// A change counts at its last watcher; the last calm one is told apart; a later change stands for those before.
func TestChanges(t *testing.T) {
	w := New(Options{User: "u", Domain: "load.test", People: 4, Contacts: 2})
	w.Measure(1 << 40)
	p := w.people[0]
	base := w.from.Load()
	at := func(ms int64) time.Duration { return time.Duration(base + ms*1e6) }
	p.open = []*change{{number: 1, sent: at(0), missing: 2, counts: true}, {number: 2, sent: at(6000), missing: 2, counts: true}}
	p.seen(0, 1, at(-6000), at(10))
	p.seen(0, 2, at(-1000), at(6020)) // told a second before the change: joined, and calm for the second change
	if len(p.open) != 1 || w.last.Count() != 1 || w.fresh.Count() != 1 || w.joined.Load() != 1 {
		t.Errorf("after the first change: %d open, %+v", len(p.open), w.Figures())
	}
	p.seen(1, 2, at(10), at(6050))
	f := w.Figures()
	if len(p.open) != 0 || f.Last.Count != 2 || f.Receipt.Count != 4 || f.First.Count != 2 {
		t.Errorf("after both: %d open, %+v", len(p.open), f)
	}
	if f.Last.Max != 6020 || f.Fresh.Max != 50 || f.First.Max != 20 {
		t.Errorf("the last watcher after %v ms, the last calm one %v, the first %v", f.Last.Max, f.Fresh.Max, f.First.Max)
	}
	if text := f.Wrong(); text != "" {
		t.Errorf("wrong is %s", text)
	}
}

// What a subscription is told is counted: versions that are not the next, an older CSeq, an end that nobody asked for.
func TestWatch(t *testing.T) {
	w := New(Options{User: "u", Domain: "load.test", People: 1000, TCP: 1000, Contacts: 2})
	w.circle = &circle{n: 1000, steps: []int{3, 14, 15, 16, 926}, slots: map[int]int{3: 0, 14: 1, 15: 2, 16: 3, 926: 4}}
	w.o.Contacts = 5
	s := w.people[0].addWatch(-1)
	seq := 0
	told := func(state, contentType string, body []byte) {
		seq++
		m := message(t, fmt.Sprintf("NOTIFY sip:u0@1.2.3.4 SIP/2.0\r\nVia: SIP/2.0/UDP far;branch=z9hG4bKx\r\nMax-Forwards: 70\r\nFrom: <sip:contacts@load.test>;tag=b\r\n"+
			"To: <sip:u0@load.test>;tag=a\r\nCall-ID: c\r\nCSeq: %d NOTIFY\r\nEvent: presence\r\nSubscription-State: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
			seq, state, contentType, len(body)), body)
		s.notified(m, time.Duration(seq))
	}
	list := func(version uint32, full bool) {
		contentType, body := listBody(t, version, full)
		told("active;expires=60", contentType, body)
	}
	list(0, true)
	if f := w.Figures(); f.Complete != 0 || f.Online != 2 || f.Lists != 1 || f.Full != 1 || f.Wrong() != "" {
		t.Errorf("one has no state yet: %+v", f)
	}
	s.entry(14).known, s.known = true, s.known+1 // as another list would say
	list(1, false)
	if f := w.Figures(); f.Complete != 1 || f.Full != 1 || f.Wrong() != "" {
		t.Errorf("the next version: %+v", f)
	}
	list(3, false)
	if f := w.Figures(); f.Skipped != 1 || f.Wrong() == "" {
		t.Errorf("a version is missing: %+v", f)
	}
	seq--
	list(4, false)
	if f := w.Figures(); f.Disorder != 1 || f.Skipped != 1 {
		t.Errorf("a NOTIFY again: %+v", f)
	}
	told("terminated;reason=timeout", "text/plain", nil)
	told("terminated;reason=timeout", "text/plain", nil)
	if f := w.Figures(); f.Ended != 1 {
		t.Errorf("the subscription was ended: %+v", f)
	}
	told("active", "text/plain", []byte("x"))
	if f := w.Figures(); f.Problems[`a NOTIFY with "text/plain"`] != 1 {
		t.Errorf("a body that is not known: %+v", f.Problems)
	}
}

func message(t *testing.T, head string, body []byte) *sip.Message {
	t.Helper()
	m := &sip.Message{}
	if err := m.ParseLimits(append([]byte(head), body...), sip.Limits{Body: 1 << 20}); err != nil {
		t.Fatalf("%v in %s", err, head)
	}
	return m
}
