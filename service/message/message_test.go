package message

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/sip"
)

func TestDeliveredToEveryDevice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone, desk := r.signIn(bob, "urn:uuid:phone", nil), r.signIn(bob, "urn:uuid:desk", nil)
		if res := r.send(say("hello")); res.Status != 200 || res.ID.IsZero() {
			t.Fatalf("got %+v", res)
		}
		for _, d := range []*device{phone, desk} {
			m := d.next()
			from, err := m.From()
			if err != nil || from.URI.AOR() != alice || string(m.Body()) != "hello" || m.Get(sip.HContentType) != "text/plain" {
				t.Errorf("%s got\n%s", d.name, m.Bytes())
			}
		}
		r.eventually("both outcomes recorded", func() bool { return len(r.records(store.KindDelivery)) == 2 })
		msgs := r.records(store.KindMessage)
		if len(msgs) != 1 || string(msgs[0].Body) != "hello" || msgs[0].From != alice || msgs[0].To != bob {
			t.Errorf("records: %+v", msgs)
		}
		for _, o := range r.records(store.KindDelivery) {
			if o.Ref != msgs[0].ID || o.MetaValue(store.MetaOutcome) != store.OutcomeDelivered || o.Seq < msgs[0].Seq {
				t.Errorf("outcome %+v", o)
			}
		}
	})
}

// Invariant 2: what a device gets is in the log already.
func TestRecordedBeforeDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		var early int
		phone := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int {
			if len(r.records(store.KindMessage)) == 0 {
				early++
			}
			return 200
		})
		r.send(say("one"))
		phone.next()
		if early > 0 {
			t.Error("delivered before it was recorded")
		}
	})
}

func TestAbsentDevicesGetItOnReturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		// Both devices are known, then away. Until its outcome is recorded, a message may go to a new device as well.
		outcomes := 0
		for _, name := range []string{"urn:uuid:phone", "urn:uuid:desk"} {
			d := r.signIn(bob, name, nil)
			r.send(say("to know " + name))
			d.next()
			d.signOut()
			outcomes++
			r.eventually("outcome", func() bool { return len(r.records(store.KindDelivery)) == outcomes })
		}
		before := time.Now()
		for i := range 5 {
			if res := r.send(say(fmt.Sprint("away ", i))); res.Status != 202 {
				t.Fatalf("got %+v", res)
			}
		}
		r.stop()
		r.run() // a restart in between changes nothing
		for _, name := range []string{"urn:uuid:desk", "urn:uuid:phone"} {
			d := r.signIn(bob, name, nil)
			if name == "urn:uuid:phone" {
				if got := d.text(); got != "to know urn:uuid:desk" { // it was away then
					t.Errorf("first missed message is %q", got)
				}
			}
			for i := range 5 {
				m := d.next()
				if string(m.Body()) != fmt.Sprint("away ", i) {
					t.Errorf("%s: message %d is %q", name, i, m.Body())
				}
				at, err := time.Parse(time.RFC1123, m.Get(sip.HDate))
				if err != nil || at.Before(before.Add(-2*time.Second)) || at.After(time.Now()) {
					t.Errorf("Date %q, %v", m.Get(sip.HDate), err)
				}
			}
		}
	})
}

// A new device gets what no device took, not the history.
func TestNewDevice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		if res := r.send(say("nobody ever")); res.Status != 202 {
			t.Fatalf("got %+v", res)
		}
		first := r.signIn(bob, "urn:uuid:first", nil)
		if got := first.text(); got != "nobody ever" {
			t.Errorf("the first device got %q", got)
		}
		r.eventually("outcome", func() bool { return len(r.records(store.KindDelivery)) == 1 })
		first.signOut()
		r.send(say("while away"))
		second := r.signIn(bob, "urn:uuid:second", nil)
		if got := second.text(); got != "while away" {
			t.Errorf("the second device got %q", got)
		}
	})
}

func TestOneDeviceSilent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		r.signIn(bob, "urn:uuid:dead", func(*sip.Message) int { return 0 })
		began := time.Now()
		if res := r.send(say("x")); res.Status != 202 {
			t.Errorf("got %+v", res)
		}
		if took := time.Since(began); took < answerWithin-100*time.Millisecond || took > answerWithin+3*time.Second {
			t.Errorf("answered after %v", took)
		}
		live := r.signIn(bob, "urn:uuid:live", nil)
		live.next()
		if res := r.send(say("y")); res.Status != 200 {
			t.Errorf("a silent device holds up another one: %+v", res)
		}
	})
}

// Invariant 3: a refusal for good, and one that comes again and again, do not block the next message.
func TestRefusalsDoNotBlock(t *testing.T) {
	t.Parallel()
	for _, status := range []int{415, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := start(t)
				phone := r.signIn(bob, "urn:uuid:phone", func(m *sip.Message) int {
					if string(m.Body()) == "poison" {
						return status
					}
					return 200
				})
				res := r.send(say("poison"))
				if status == 415 && (res.Status != 415 || res.Warning == "") || status == 500 && res.Status != 202 {
					t.Errorf("sender got %+v", res)
				}
				r.send(say("next"))
				// It comes back again and again: the poison is tried three times in all.
				r.eventually("the next message", func() bool {
					r.service.Arrived(bob, phone.name)
					select {
					case m := <-phone.got:
						return string(m.Body()) == "next"
					default:
						return false
					}
				})
				r.eventually("both outcomes", func() bool { return len(r.records(store.KindDelivery)) == 2 })
				if o := r.records(store.KindDelivery)[0]; o.MetaValue(store.MetaOutcome) != store.OutcomeRefused || o.MetaValue(store.MetaStatus) != fmt.Sprint(status) {
					t.Errorf("outcome %+v", o)
				}
			})
		})
	}
}

// Invariant 4.
func TestRepeats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		for i := range 3 {
			if res := r.send(say("same")); res.Status != 200 && (i == 0 || res.Status != 202) {
				t.Errorf("try %d: %+v", i, res)
			}
		}
		phone.next()
		receipt := Outgoing{From: alice, To: bob, ContentType: imdn.ContentType, Expires: -1, CallID: "r1", Body: imdn.Notification{
			MessageID: "m", Kind: imdn.Display, Status: "displayed", DateTime: time.Now(),
		}.Bytes()}
		r.send(receipt)
		phone.next()
		r.stop()
		r.run()
		r.send(receipt)
		phone.signOut()
		if res := r.send(say("same")); res.Status != 202 {
			t.Errorf("after a restart: %+v", res)
		}
		other := say("same")
		other.CSeq = "2" // the same text again, meant so
		r.send(other)
		byMessageID := wrapped("with id")
		byMessageID.CallID = "first"
		r.send(byMessageID)
		byMessageID.CallID = "second"
		r.send(byMessageID)
		byRequest := say("api")
		byRequest.CallID, byRequest.RequestID = "", "r1"
		r.send(byRequest)
		r.send(byRequest)
		if n := len(r.records(store.KindMessage)); n != 4 {
			t.Errorf("%d records, want 4", n)
		}
		if n := len(r.records(store.KindReceipt)); n != 1 {
			t.Errorf("%d receipts, want 1", n)
		}
	})
}

// A repeat that comes while the first waits gets the same answer and makes no record.
func TestRepeatInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone := r.signIn(bob, "urn:uuid:phone", func(*sip.Message) int { return 0 })
		answers := make(chan Result, 2)
		r.service.Send(say("x"), func(res Result) { answers <- res })
		phone.next()
		r.service.Send(say("x"), func(res Result) { answers <- res })
		a, b := <-answers, <-answers
		if a != b || a.Status != 202 {
			t.Errorf("%+v, %+v", a, b)
		}
		if n := len(r.records(store.KindMessage)); n != 1 {
			t.Errorf("%d records", n)
		}
	})
}

// Invariant 5, with more messages than the queue of a device holds.
func TestOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		const n = 5 * maxQueued
		done := make(chan Result, n)
		for i := range n {
			r.service.Send(say(fmt.Sprint(i)), func(res Result) { done <- res })
		}
		for i := range n {
			if got := phone.text(); got != fmt.Sprint(i) {
				t.Fatalf("message %d is %q", i, got)
			}
		}
		for range n {
			if res := <-done; res.Status != 200 && res.Status != 202 {
				t.Errorf("%+v", res)
			}
		}
	})
}

func TestOnlyTheDeviceOfAGRUU(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone, desk := r.signIn(bob, "urn:uuid:phone", nil), r.signIn(bob, "urn:uuid:desk", nil)
		o := say("for the desk")
		o.ToDevice = "urn:uuid:desk"
		if res := r.send(o); res.Status != 200 {
			t.Errorf("got %+v", res)
		}
		r.send(say("for both"))
		if got := desk.text(); got != "for the desk" {
			t.Errorf("desk got %q", got)
		}
		if got := phone.text(); got != "for both" {
			t.Errorf("phone got %q", got)
		}
	})
}

func TestPlainDeviceHasSeveralContacts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		one, two := r.signIn(bob, Plain, nil), r.signIn(bob, Plain, nil)
		r.send(say("hi"))
		if one.text() != "hi" || two.text() != "hi" {
			t.Error("a contact of the plain device was left out")
		}
	})
}

func TestExpiredIsNotDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		o := say("now or never")
		o.Expires = 0
		r.send(o)
		r.send(say("later"))
		rec := r.records(store.KindMessage)[0]
		r.eventually("expiry", func() bool { return expired(&rec) })
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		if got := phone.text(); got != "later" {
			t.Errorf("got %q", got)
		}
		r.eventually("outcomes", func() bool { return len(r.records(store.KindDelivery)) == 2 })
		if o := r.records(store.KindDelivery)[0]; o.MetaValue(store.MetaOutcome) != store.OutcomeExpired {
			t.Errorf("outcome %+v", o)
		}
	})
}

func wrapped(text string) Outgoing {
	o := say(text)
	m := cpim.Message{
		Headers: []cpim.Header{
			{Name: "From", Value: "<sip:" + alice + ">"}, {Name: "To", Value: "<sip:" + bob + ">"},
			{NS: imdn.HeaderNS, Name: "Message-ID", Value: "mid1"},
			{NS: imdn.HeaderNS, Name: "Disposition-Notification", Value: "positive-delivery, display"},
		},
		ContentHeaders: []cpim.Header{{Name: "Content-Type", Value: "text/plain"}},
		Content:        []byte(text),
	}
	o.ContentType, o.Body = cpim.ContentType, m.Bytes()
	return o
}

func TestReceipt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone, hers := r.signIn(bob, "urn:uuid:phone", nil), r.signIn(alice, "urn:uuid:hers", nil)
		r.send(wrapped("hi"))
		phone.next()
		n := imdn.Notification{MessageID: "mid1", Kind: imdn.Display, Status: "displayed", DateTime: time.Now()}
		o := Outgoing{From: bob, To: alice, ContentType: imdn.ContentType, Body: n.Bytes(), Expires: -1, CallID: "r1"}
		if res := r.send(o); res.Status != 200 {
			t.Fatalf("got %+v", res)
		}
		if got := hers.next(); got.Get(sip.HContentType) != imdn.ContentType {
			t.Errorf("alice got\n%s", got.Bytes())
		}
		receipts := r.records(store.KindReceipt)
		if len(receipts) != 1 || receipts[0].Ref != r.records(store.KindMessage)[0].ID || receipts[0].MetaValue(store.MetaOutcome) != "displayed" {
			t.Errorf("receipts: %+v", receipts)
		}
	})
}

func TestDeviceThatCannotReadCPIM(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		old := r.signIn(bob, "urn:uuid:old", func(m *sip.Message) int {
			if ct, _ := m.ContentType(); ct != "text/plain" {
				return 415
			}
			return 200
		})
		if res := r.send(wrapped("hi")); res.Status != 200 {
			t.Errorf("got %+v", res)
		}
		old.next()
		if got := old.text(); got != "hi" {
			t.Errorf("got %q", got)
		}
	})
}

// Typing passes unrecorded, rebuilt, and cannot carry text.
func TestTyping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		o := say("")
		o.ContentType = iscomposing.ContentType + ";charset=utf-8"
		o.Body = []byte(`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><x>meet me</x></isComposing>`)
		o.Headers.Subject, o.Display = "meet me", "meet me"
		if res := r.send(o); res.Status != 200 {
			t.Errorf("got %+v", res)
		}
		m := phone.next()
		state, err := iscomposing.Parse(m.Body())
		if err != nil || state.State != "active" || bytes.Contains(m.Bytes(), []byte("meet me")) {
			t.Errorf("got %v\n%s", err, m.Bytes())
		}
		// With a receiver that is away it is dropped; text with Expires: 0 is not typing.
		if n := len(r.records(store.KindMessage)); n != 0 {
			t.Errorf("%d records", n)
		}
	})
}

func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		r.users["carol@example.com"] = &store.User{AOR: "carol@example.com", Disabled: true}
		var bomb bytes.Buffer
		w := zlib.NewWriter(&bomb)
		w.Write(make([]byte, 1<<20))
		w.Close()
		for name, c := range map[string]struct {
			edit func(o *Outgoing)
			want int
		}{
			"at the limit":     {func(o *Outgoing) { o.Body = make([]byte, DefaultMaxBody) }, 202},
			"over the limit":   {func(o *Outgoing) { o.Body = make([]byte, DefaultMaxBody+1) }, 413},
			"deflate bomb":     {func(o *Outgoing) { o.Encoding, o.Body = "deflate", bomb.Bytes() }, 413},
			"unknown encoding": {func(o *Outgoing) { o.Encoding = "br" }, 415},
			"broken encoding":  {func(o *Outgoing) { o.Encoding = "gzip" }, 400},
			"no such user":     {func(o *Outgoing) { o.To = "nobody@example.com" }, 404},
			"disabled":         {func(o *Outgoing) { o.To = "carol@example.com" }, 480},
			"no type":          {func(o *Outgoing) { o.ContentType = "" }, 400},
			"broken multipart": {func(o *Outgoing) { o.ContentType = "multipart/mixed" }, 400},
			"broken CPIM":      {func(o *Outgoing) { o.ContentType = "message/cpim" }, 400},
			"foreign CPIM From": {func(o *Outgoing) {
				*o = wrapped("x")
				o.Body = bytes.ReplaceAll(o.Body, []byte("alice"), []byte("carol"))
			}, 403},
			"second CPIM From": {func(o *Outgoing) {
				*o = wrapped("x")
				o.Body = bytes.Replace(o.Body, []byte("To: "), []byte("from: <im:carol@example.com>\r\nTo: "), 1)
			}, 403},
			"CPIM From in a namespace": {func(o *Outgoing) {
				*o = wrapped("x")
				o.Body = bytes.Replace(o.Body, []byte("From: "), []byte("NS: <urn:x>\r\nFrom: \"carol\" "), 1)
				o.Body = bytes.ReplaceAll(o.Body, []byte("alice"), []byte("carol"))
			}, 403},
			"CPIM From that is no address": {func(o *Outgoing) {
				*o = wrapped("x")
				o.Body = bytes.Replace(o.Body, []byte("<sip:alice@example.com>"), []byte("carol"), 1)
			}, 403},
			"broken typing":     {func(o *Outgoing) { o.ContentType = iscomposing.ContentType }, 400},
			"broken receipt":    {func(o *Outgoing) { o.ContentType = imdn.ContentType }, 400},
			"typing with a DTD": {func(o *Outgoing) { o.ContentType = iscomposing.ContentType; o.Body = []byte("<!DOCTYPE x><x/>") }, 400},
		} {
			o := say(name)
			c.edit(&o)
			if res := r.send(o); res.Status != c.want || (res.Status >= 300 && res.Warning == "") {
				t.Errorf("%s: %+v, want %d with a warning", name, res, c.want)
			}
		}
		if n := len(r.records(store.KindMessage)); n != 1 {
			t.Errorf("%d records, want the one at the limit", n)
		}
	})
}

func TestText(t *testing.T) {
	cp := wrapped("inside")
	const file = `<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="file"><file-name>cat.png</file-name><data url="http://h/1"/></file-info></file>`
	for want, r := range map[string]*store.Record{
		"hello":     {Kind: store.KindMessage, ContentType: "text/plain", Body: []byte("hello")},
		"inside":    {Kind: store.KindMessage, ContentType: cp.ContentType, Body: cp.Body},
		"sub\nbody": {Kind: store.KindMessage, ContentType: "text/plain", Body: []byte("body"), Meta: map[string]string{store.MetaSubject: "sub"}},
		"[image/png, 2 bytes]\n\npart": {Kind: store.KindMessage, ContentType: "multipart/mixed;boundary=b",
			Body: []byte("--b\r\nContent-Type: image/png\r\n\r\nxx\r\n--b\r\n\r\npart\r\n--b--\r\n")},
		"words here":       {Kind: store.KindMessage, ContentType: "text/html", Body: []byte("<p class=nothing><b>words</b> here")},
		"look\ncat.png":    {Kind: store.KindMessage, ContentType: "application/vnd.gsma.rcs-ft-http+xml", Body: []byte(file), Meta: map[string]string{store.MetaCaption: "look"}},
		"said anew":        {Kind: store.KindEdit, ContentType: "text/plain", Body: []byte("said anew")},
		"an act\nof admin": {Kind: store.KindAdmin, ContentType: "text/plain", Body: []byte("of admin"), Meta: map[string]string{store.MetaSubject: "an act"}},
		"":                 {Kind: store.KindReceipt, ContentType: "text/plain", Body: []byte("x")},
	} {
		if got := Text(r); got != want {
			t.Errorf("%s: %q, want %q", r.ContentType, got, want)
		}
	}
	for _, kind := range []string{store.KindReaction, store.KindRetract} {
		if got := Text(&store.Record{Kind: kind, ContentType: "text/plain", Body: []byte("x"), Meta: map[string]string{store.MetaQuote: "x"}}); got != "" {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

func TestLapse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		r.send(say("known"))
		phone.next()
		phone.signOut()
		r.send(say("missed"))
		known := r.records(store.KindMessage)[0].Seq
		r.eventually("cursor saved", func() bool {
			list, err := r.store.LoadCursors(t.Context(), bob)
			return err == nil && len(list) == 2 && list[0].Seq == known && list[1].Seq == known
		})
		if err := r.service.lapse(t.Context(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		r.eventually("expired outcome", func() bool { return len(r.records(store.KindDelivery)) == 2 })
		if o := r.records(store.KindDelivery)[1]; o.MetaValue(store.MetaOutcome) != store.OutcomeExpired || !strings.Contains(o.MetaValue(store.MetaReason), "30 days") {
			t.Errorf("outcome %+v", o)
		}
	})
}

func TestRepeatsWindow(t *testing.T) {
	w := newRepeats(time.Hour)
	p := &pending{rec: &store.Record{ID: id.New(), From: alice, To: bob, Kind: store.KindMessage, Meta: map[string]string{store.MetaCallID: "c"}}}
	p.keys = w.keys(p.rec)
	if _, _, known := w.begin(p); known {
		t.Fatal("known at first")
	}
	w.landed(p, 200)
	w.turn(w.turned.Add(time.Hour))
	if w.find(p.keys[0]) != p.rec.ID {
		t.Error("forgotten within two windows")
	}
	w.turn(w.turned.Add(time.Hour))
	if w.size() != 0 {
		t.Errorf("%d keys after two windows", w.size())
	}
}

// A device that registered is owed what is said from then on, also when it left before anybody looked.
func TestExpectedDevice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		desk := r.signIn(bob, "urn:uuid:desk", nil)
		r.service.Expect(bob, "urn:uuid:phone")
		for i := range 5 {
			if res := r.send(say(fmt.Sprint(i))); res.Status != 200 {
				t.Errorf("got %+v", res)
			}
			desk.next()
		}
		phone := r.signIn(bob, "urn:uuid:phone", nil)
		for i := range 5 {
			if got := phone.text(); got != fmt.Sprint(i) {
				t.Errorf("message %d is %q", i, got)
			}
		}
	})
}
