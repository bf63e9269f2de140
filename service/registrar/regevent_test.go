package registrar

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/reginfo"
	"github.com/parley-im/parley/wire/sip"
)

// subscribe sends a SUBSCRIBE for a user's registrations and returns the answer's status.
func (p *phone) subscribe(to string) int {
	t := p.r.t
	t.Helper()
	p.cseq++
	text := fmt.Sprintf("SUBSCRIBE sip:%s SIP/2.0\nVia: SIP/2.0/%s %s;branch=z9hG4bKs%d\nMax-Forwards: 70\nFrom: <sip:%s>;tag=w%d\nTo: <sip:%s>\nCall-ID: sub%d@%s\nCSeq: 1 SUBSCRIBE\nEvent: reg\nExpires: 3600\nContact: <sip:w@%s>\nContent-Length: 0\n\n",
		to, p.kind.ViaName(), p.addr, p.cseq, p.aor(), p.cseq, to, p.cseq, p.addr, p.addr)
	m, err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	p.r.layer.Message(m, p.flow)
	for _, m := range p.received() {
		if !m.IsRequest() {
			return m.Status()
		}
	}
	t.Fatal("no answer")
	return 0
}

// received takes all messages that came, and answers the NOTIFYs among them.
func (p *phone) received() (list []*sip.Message) {
	p.r.t.Helper()
	for {
		settle()
		p.mu.Lock()
		inbox := p.inbox
		p.inbox = nil
		p.mu.Unlock()
		if len(inbox) == 0 {
			return list
		}
		for _, b := range inbox {
			m, err := sip.Parse(b)
			if err != nil {
				p.r.t.Fatalf("%v\n%s", err, b)
			}
			list = append(list, m)
			if m.IsRequest() {
				p.notes = append(p.notes, m)
				answer, err := sip.NewResponse(m, 200, "").Message()
				if err != nil {
					p.r.t.Fatal(err)
				}
				p.r.layer.Message(answer, p.flow)
			}
		}
	}
}

// notified takes the documents of the NOTIFYs that came.
func (p *phone) notified() (list []*reginfo.Document) {
	p.r.t.Helper()
	p.received()
	for _, m := range p.notes {
		if m.Get(sip.HEvent) != RegPackage || m.Get(sip.HContentType) != reginfo.ContentType {
			p.r.t.Errorf("got %s", m.Bytes())
		}
		d, err := reginfo.Parse(m.Body())
		if err != nil {
			p.r.t.Fatalf("%v\n%s", err, m.Bytes())
		}
		list = append(list, d)
	}
	p.notes = nil
	return list
}

// RFC 3680 §6 with RFC 5628: who watches learns of each change, in order.
func TestRegEvent(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		source := r.regEvents
		notifier := dialog.NewNotifier(dialog.Options{Event: RegPackage, Types: []string{reginfo.ContentType}, Source: source,
			Transactions: r.layer, Contact: func(transport.Flow) string { return "sip:192.0.2.1:5060" }})
		source.SetNotifier(notifier)
		r.subscribed = func(q *route.Request, admin bool) {
			notifier.HandleSubscribe(q.Tx, q.Msg, dialog.Watcher{AOR: q.Identity.AOR, Admin: admin})
		}
		w := r.phone(alice, "192.0.2.20:5060", transport.UDP)
		if got := w.subscribe(alice); got != 200 {
			t.Fatalf("got %d", got)
		}
		d := w.notified()
		if len(d) != 1 || d[0].Version != 0 || d[0].Partial || len(d[0].Registrations) != 1 || d[0].Registrations[0].AOR != "sip:"+alice || d[0].Registrations[0].State != reginfo.Init {
			t.Fatalf("at first: %+v", d)
		}
		id := d[0].Registrations[0].ID

		p := r.phone(alice, "192.0.2.7:5060", transport.UDP)
		pub, temp := gruusOf(t, p.ok("Supported: gruu", "User-Agent: x", strings.Replace(withInstance, ">;", ">;q=0.5;audio;methods=\"INVITE, BYE\";", 1)))
		d = w.notified()
		if len(d) != 1 || d[0].Version != 1 {
			t.Fatalf("after a REGISTER: %+v", d)
		}
		reg := d[0].Registrations[0]
		expires, cseq := uint64(3600), uint32(1)
		want := reginfo.Contact{State: reginfo.Active, Event: reginfo.Registered, Expires: &expires, Q: "0.5", CallID: p.cid, CSeq: &cseq,
			ID: reg.Contacts[0].ID, URI: "sip:alice@192.0.2.7", PubGRUU: pub, TempGRUU: temp, FirstCSeq: 1, Params: []reginfo.Param{
				{Name: "audio"}, {Name: "methods", Value: `"INVITE, BYE"`}, {Name: "+sip.instance", Value: `"<` + instance + `>"`}}}
		if reg.ID != id || reg.State != reginfo.Active || len(reg.Contacts) != 1 {
			t.Fatalf("got %+v", reg)
		}
		if diff := cmp.Diff(want, reg.Contacts[0]); diff != "" {
			t.Error(diff)
		}
		contact := reg.Contacts[0].ID

		time.Sleep(100 * time.Second)
		_, temp2 := gruusOf(t, p.ok("Supported: gruu", withInstance))
		d = w.notified()
		if c := d[len(d)-1].Registrations[0].Contacts[0]; c.Event != reginfo.Refreshed || c.ID != contact || c.Duration != 100 || c.TempGRUU != temp2 || c.FirstCSeq != 1 || *c.CSeq != 2 {
			t.Errorf("after a refresh: %+v", c)
		}
		p.ok(strings.Replace(withInstance, ">;", ">;expires=0;", 1))
		d = w.notified()
		reg = d[len(d)-1].Registrations[0]
		if reg.State != reginfo.Terminated || len(reg.Contacts) != 1 || reg.Contacts[0].State != reginfo.Terminated || reg.Contacts[0].Event != reginfo.Unregistered || reg.Contacts[0].ID != contact {
			t.Errorf("at the end: %+v", reg)
		}
		time.Sleep(showGone + time.Second)
		if reg := source.Document(alice, true).Registrations[0]; reg.State != reginfo.Init || len(reg.Contacts) != 0 {
			t.Errorf("later: %+v", reg)
		}

		// Others may not watch; administrators may, without temporary GRUUs.
		bob := r.phone("bob@example.com", "192.0.2.21:5060", transport.UDP)
		if got := bob.subscribe(alice); got != 403 {
			t.Errorf("bob: %d", got)
		}
		admin := r.phone("admin@example.com", "192.0.2.22:5060", transport.UDP)
		p.ok("Supported: gruu", withInstance)
		if got := admin.subscribe(alice); got != 200 {
			t.Errorf("an administrator: %d", got)
		}
		if c := admin.notified()[0].Registrations[0].Contacts[0]; c.PubGRUU != pub || c.TempGRUU != "" {
			t.Errorf("an administrator sees %+v", c)
		}
	})
}

// What is gone is remembered for a bounded number of addresses and contacts.
func TestRegEventBounded(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		e := r.regEvents
		for i := range maxGoneAORs + 50 {
			e.changed(Event{Expired, &Binding{AOR: fmt.Sprintf("u%d@example.com", i), Key: "k"}})
		}
		for i := range 3 * maxGone {
			e.changed(Event{Expired, &Binding{AOR: "u0@example.com", Key: fmt.Sprint(i)}})
		}
		if len(e.gone) != maxGoneAORs || len(e.gone["u0@example.com"]) > maxGone {
			t.Errorf("%d addresses, %d contacts", len(e.gone), len(e.gone["u0@example.com"]))
		}
		time.Sleep(showGone + time.Second)
		e.changed(Event{Expired, &Binding{AOR: "x@example.com", Key: "k"}})
		if keys := len(e.gone); keys != 1 || !slices.ContainsFunc(e.gone["x@example.com"], func(g gone) bool { return g.event.Kind == Expired }) {
			t.Errorf("%d addresses after a minute", keys)
		}
	})
}
