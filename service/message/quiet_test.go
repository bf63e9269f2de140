package message

import (
	"sync/atomic"
	"testing"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/sip"
)

// peace is who does not want to be disturbed: bob, while it is on, by anybody but close@example.com.
type peace struct{ on atomic.Bool }

func (p *peace) quiet(owner, from string) bool {
	return p.on.Load() && owner == bob && from != "close@example.com"
}

func startQuiet(t *testing.T) (*rig, *peace) {
	r, p := prepare(t), &peace{}
	r.users["close@example.com"] = &store.User{AOR: "close@example.com"}
	r.quiet = p.quiet
	p.on.Store(true)
	r.run()
	return r, p
}

// wantOutcomes checks the Priority in the records of deliveries, in the order of the log.
func (r *rig) wantOutcomes(priorities ...string) {
	r.t.Helper()
	r.eventually("the outcomes", func() bool { return len(r.records(store.KindDelivery)) == len(priorities) })
	for i, o := range r.records(store.KindDelivery) {
		if o.MetaValue(store.MetaPriority) != priorities[i] || o.MetaValue(store.MetaOutcome) != store.OutcomeDelivered {
			r.t.Errorf("outcome %d, want the priority %q: %+v", i, priorities[i], o)
		}
	}
}

// RFC 3261 §20.26: whatever the sender wrote, what is delivered is non-urgent; the record is what was said, and the sender
// hears what senders hear.
func TestQuiet(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		from, said, want, outcome string
	}{
		{alice, "", "non-urgent", "non-urgent"},
		{alice, "urgent", "non-urgent", "non-urgent"},
		{alice, "emergency", "non-urgent", "non-urgent"},
		{alice, "non-urgent", "non-urgent", "non-urgent"},
		{"close@example.com", "", "", ""},
		{"close@example.com", "urgent", "urgent", ""},
	} {
		t.Run(row.from+" "+row.said, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, _ := startQuiet(t)
				phone := r.signIn(bob, "urn:uuid:phone", nil)
				o := say("hello")
				o.From, o.Headers = row.from, Headers{Priority: row.said, Subject: "a subject"}
				if res := r.send(o); res.Status != 200 {
					t.Errorf("the sender got %+v", res)
				}
				m := phone.next()
				if got := m.Get(sip.HPriority); got != row.want || m.Count(sip.HPriority) > 1 || m.Get(sip.HSubject) != "a subject" || string(m.Body()) != "hello" {
					t.Errorf("Priority %q, want %q:\n%s", got, row.want, m.Bytes())
				}
				r.wantOutcomes(row.outcome)
				if rec := r.records(store.KindMessage)[0]; rec.MetaValue(store.MetaPriority) != row.said {
					t.Errorf("recorded as %q", rec.MetaValue(store.MetaPriority))
				}
			})
		})
	}
}

// What waited is delivered as its receiver wants it when it is delivered, on each device by itself.
func TestQuietAtDelivery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := startQuiet(t)
		p.on.Store(false)
		urgent := say("for later")
		urgent.Headers.Priority = "urgent"
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		r.send(say("to know the phone"))
		if m := phone.next(); m.Has(sip.HPriority) {
			t.Errorf("nobody is quiet:\n%s", m.Bytes())
		}
		r.wantOutcomes("")
		phone.signOut()
		if res := r.send(urgent); res.Status != 202 {
			t.Fatalf("the sender got %+v", res)
		}
		p.on.Store(true)
		phone = r.signIn(bob, "urn:uuid:phone", nil)
		if m := phone.next(); m.Get(sip.HPriority) != "non-urgent" || string(m.Body()) != "for later" {
			t.Errorf("accepted before, delivered while quiet:\n%s", m.Bytes())
		}
		r.wantOutcomes("", "non-urgent")
		phone.signOut()
		again := say("while quiet")
		again.Headers.Priority = "urgent"
		if res := r.send(again); res.Status != 202 {
			t.Fatalf("the sender got %+v", res)
		}
		p.on.Store(false)
		phone = r.signIn(bob, "urn:uuid:phone", nil)
		if m := phone.next(); m.Get(sip.HPriority) != "urgent" || string(m.Body()) != "while quiet" {
			t.Errorf("accepted while quiet, delivered after it:\n%s", m.Bytes())
		}
		r.wantOutcomes("", "non-urgent", "")
	})
}

// A device that answers with a failure of the moment gets it again, as is wanted then.
func TestQuietAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := startQuiet(t)
		var tries atomic.Int32
		phone := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int {
			if tries.Add(1) == 1 {
				return 480
			}
			return 200
		})
		if res := r.send(say("hello")); res.Status != 202 {
			t.Fatalf("the sender got %+v", res)
		}
		if m := phone.next(); m.Get(sip.HPriority) != "non-urgent" {
			t.Errorf("the first try:\n%s", m.Bytes())
		}
		p.on.Store(false)
		r.service.Arrived(bob, "urn:uuid:phone")
		if m := phone.next(); m.Has(sip.HPriority) {
			t.Errorf("the second try:\n%s", m.Bytes())
		}
		r.wantOutcomes("")
	})
}

// RFC 3994: a typing notice is answered as always, and goes nowhere.
func TestQuietTyping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := startQuiet(t)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		typing := say("typing")
		typing.ContentType = iscomposing.ContentType
		typing.Body = []byte(`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`)
		if res := r.send(typing); res.Status != 200 {
			t.Errorf("the sender got %+v", res)
		}
		p.on.Store(false)
		r.send(say("hello"))
		if got := phone.text(); got != "hello" {
			t.Errorf("what arrived first is %q", got)
		}
		p.on.Store(true)
		typing.From = "close@example.com"
		r.send(typing)
		if m := phone.next(); m.Get(sip.HContentType) != iscomposing.ContentType {
			t.Errorf("from who may interrupt:\n%s", m.Bytes())
		}
	})
}

// What the two say inside a session passes as it is.
func TestQuietInDialog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := startQuiet(t)
		s := r.session()
		s.say(alice, "1", "2", "Priority: urgent\r\n", "text/plain", "hello")
		if m := (<-r.forwards).r.Msg; m.Get(sip.HPriority) != "urgent" {
			t.Errorf("changed:\n%s", m.Bytes())
		}
		s.say(alice, "2", "3", "", iscomposing.ContentType, `<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`)
		if m := (<-r.forwards).r.Msg; m.Get(sip.HContentType) != iscomposing.ContentType {
			t.Errorf("the typing notice:\n%s", m.Bytes())
		}
	})
}

// BenchmarkDelivery is what making a delivery costs, with the question whether its receiver wants to be disturbed.
func BenchmarkDelivery(b *testing.B) {
	rec := &store.Record{From: alice, To: bob, ContentType: "text/plain", Body: []byte("hello"), Meta: map[string]string{store.MetaCallID: "c", store.MetaCSeq: "1"}}
	target := route.Target{URI: "sip:device@127.0.0.1:40000", AOR: bob, Device: "urn:uuid:phone", Instance: "urn:uuid:phone"}
	s := &Service{o: Options{Quiet: func(owner, from string) bool { return owner == from }, Clients: strangers{}}}
	d := &outbox{box: &mailbox{w: &shard{s: s}}, device: target.Device}
	a := &attempt{rec: rec}
	b.ReportAllocs()
	for b.Loop() {
		a.quiet = s.o.Quiet(rec.To, rec.From)
		a.typ, a.body = d.render(rec)
		newDelivery(a, target)
	}
}
