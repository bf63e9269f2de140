package call

import (
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

func note(text string) func(*sip.Draft) {
	return func(d *sip.Draft) { d.AddName("X-Note", text) }
}

// texts are the records of what was said after the start, and their rows.
func (r *rig) texts() (rows []string) {
	r.t.Helper()
	for _, rec := range r.records() {
		if rec.Kind == store.KindCallText {
			rows = append(rows, rec.From+" "+rec.Meta[metaPart]+" "+rec.Meta[store.MetaHeaders]+string(rec.Body))
		}
	}
	return rows
}

func (r *rig) wantTexts(want ...string) {
	r.t.Helper()
	if got := r.texts(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Errorf("on record:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What a response says is a record before the caller gets it, and what comes after it waits for it.
func TestResponseIsRecordedBeforeItPasses(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		_, at := r.ringing("alice", "sip:"+bob, "bob")
		r.store.hold()
		r.answer("bob", at["bob"], 183, note("wait a moment"))
		r.answer("bob", at["bob"], 200)
		r.quiet("alice")
		r.store.release()
		if m := r.get("alice", 183); m.GetName("X-Note") != "wait a moment" {
			t.Errorf("the note was lost:\n%s", m.Bytes())
		}
		ok := r.get("alice", 200)
		r.wantTexts("bob@example.com 183 INVITE X-Note: wait a moment")
		r.within(sip.ACK, "alice", ok, 1)
		r.get("bob", "ACK")
		r.hangUp("alice", "bob", ok)
	})
}

// The same for requests, in both directions; a BYE does not overtake what waits.
func TestRequestIsRecordedBeforeItPasses(t *testing.T) {
	for _, by := range []string{"alice", "bob"} {
		run(t, func(r *rig) {
			ok := r.talking()
			other := map[string]string{"alice": "bob", "bob": "alice"}[by]
			r.store.hold()
			r.within(sip.INFO, by, ok, 50, note("first"))
			r.within(sip.BYE, by, ok, 51)
			r.quiet(other)
			r.store.release()
			info := r.get(other, "INFO")
			if info.GetName("X-Note") != "first" {
				t.Errorf("the note was lost:\n%s", info.Bytes())
			}
			r.answer(other, info, 200)
			r.get(by, 200)
			r.answer(other, r.get(other, "BYE"), 200)
			r.get(by, 200)
			r.wantTexts(by + "@example.com INFO X-Note: first")
		})
	}
}

// What is on record is not recorded again, and calls that say nothing cost nothing.
func TestSaidOnce(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		r.invite("alice", "sip:"+bob, note("hello"), func(d *sip.Draft) { d.Set(sip.HFrom, `"Alice" <sip:alice@example.com>;tag=t-alice`) })
		r.get("alice", 100)
		at := r.get("bob", "INVITE")
		r.answer("bob", at, 180, note("hello"))
		r.get("alice", 180)
		r.answer("bob", at, 200, func(d *sip.Draft) { d.Body("application/sdp", []byte(offer)) })
		ok := r.get("alice", 200)
		r.within(sip.ACK, "alice", ok, 1)
		r.get("bob", "ACK")
		r.within(sip.INFO, "alice", ok, 2, note("hello"))
		r.answer("bob", r.get("bob", "INFO"), 200, note("hello"))
		r.get("alice", 200)
		r.within(sip.INFO, "bob", ok, 2, note("more"))
		r.answer("alice", r.get("alice", "INFO"), 200, note("more"))
		r.get("bob", 200)
		r.hangUp("alice", "bob", ok)
		r.wantTexts("bob@example.com INFO X-Note: more")
		start := r.records()[0]
		if h := start.Meta[store.MetaHeaders]; h != "From: \"Alice\" <sip:alice@example.com>\r\nX-Note: hello" {
			t.Errorf("headers of the start: %q", h)
		}
	})
}

// What cannot be recorded is refused, or is taken out of what has to pass.
func TestUnrecordedIsNotCarried(t *testing.T) {
	for _, err := range []error{store.ErrUnavailable, store.ErrBusy} {
		run(t, func(r *rig) {
			r.signIn("bob")
			_, at := r.ringing("alice", "sip:"+bob, "bob")
			r.store.fail(err)
			r.answer("bob", at["bob"], 200, note("lost"), func(d *sip.Draft) {
				d.Set(sip.HContact, `"lost" `+d.Get(sip.HContact)).Set(sip.HTo, `"lost" `+d.Get(sip.HTo)).Body("application/sdp", []byte(offer+"a=lost\r\n"))
			})
			ok := r.get("alice", 200)
			if strings.Contains(string(ok.Bytes()), "lost") {
				t.Errorf("it passed:\n%s", ok.Bytes())
			}
			r.within(sip.ACK, "alice", ok, 1, note("lost"))
			if m := r.get("bob", "ACK"); strings.Contains(string(m.Bytes()), "lost") {
				t.Errorf("it passed:\n%s", m.Bytes())
			}
			r.within(sip.INFO, "alice", ok, 2, note("lost"))
			if no := r.get("alice", 500); no.Get(sip.HRetryAfter) == "" || no.Get(sip.HWarning) == "" {
				t.Errorf("no Retry-After or Warning:\n%s", no.Bytes())
			}
			r.quiet("bob")
			r.within(sip.BYE, "alice", ok, 3, note("lost"))
			bye := r.get("bob", "BYE")
			if strings.Contains(string(bye.Bytes()), "lost") {
				t.Errorf("it passed:\n%s", bye.Bytes())
			}
			r.answer("bob", bye, 200, note("lost"))
			if m := r.get("alice", 200); strings.Contains(string(m.Bytes()), "lost") {
				t.Errorf("it passed:\n%s", m.Bytes())
			}
			r.store.fail(nil)
			r.wantTexts()
			r.sleep(2e9) // the end is recorded in the second try
			r.empty()
		})
	}
}

// An answer of which nothing is left without its words is no answer.
func TestUnrecordedAnswer(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		_, at := r.ringing("alice", "sip:"+bob, "bob")
		r.store.fail(store.ErrUnavailable)
		r.answer("bob", at["bob"], 302, func(d *sip.Draft) {
			d.Add(sip.HContact, `"lost" <sip:a@192.0.2.7>, "lost" <sip:b@192.0.2.7>`)
		})
		r.get("bob", "ACK")
		if m := r.get("alice", 480); strings.Contains(string(m.Bytes()), "lost") {
			t.Errorf("it passed:\n%s", m.Bytes())
		}
		r.store.fail(nil)
		r.sleep(2 * time.Second)
		r.empty()
	})
}

// A call has a bound on what is recorded of it; beyond it nothing is said any more, but it can be ended.
func TestTooMuchSaid(t *testing.T) {
	run(t, func(r *rig) {
		ok := r.talking()
		r.service.mu.Lock()
		for _, c := range r.service.calls {
			c.texts = maxTexts - 1
		}
		r.service.mu.Unlock()
		r.within(sip.INFO, "alice", ok, 2, note("the last"))
		r.answer("bob", r.get("bob", "INFO"), 200)
		r.get("alice", 200)
		r.within(sip.INFO, "alice", ok, 3, note("one more"))
		r.get("alice", 403)
		r.quiet("bob")
		r.within(sip.INFO, "alice", ok, 4)
		r.answer("bob", r.get("bob", "INFO"), 200, note("one more"))
		if m := r.get("alice", 200); m.GetName("X-Note") != "" {
			t.Errorf("it passed:\n%s", m.Bytes())
		}
		r.hangUp("alice", "bob", ok)
		r.wantTexts("alice@example.com INFO X-Note: the last")
	})
}

// While the log is slow, only so much waits.
func TestTooMuchWaits(t *testing.T) {
	run(t, func(r *rig) {
		ok := r.talking()
		r.store.hold()
		for i := range maxWaiting + 2 {
			r.within(sip.INFO, "alice", ok, 2+i, note("again"))
		}
		r.get("alice", 403)
		r.quiet("alice", "bob")
		r.store.release()
		for range maxWaiting + 1 {
			r.answer("bob", r.get("bob", "INFO"), 200)
			r.get("alice", 200)
		}
		r.hangUp("alice", "bob", ok)
		r.wantTexts("alice@example.com INFO X-Note: again")
	})
}

// The caller knows session timers and the callee does not: the proxy tells the caller, who then dies. RFC 4028 §8.2.
func TestLostWhenOnlyTheCallerKnowsTimers(t *testing.T) {
	timer := func(seconds string) func(*sip.Draft) {
		return func(d *sip.Draft) { d.Set(sip.HSupported, "timer").Set(sip.HSessionExpires, seconds) }
	}
	for _, refreshed := range []bool{false, true} {
		run(t, func(r *rig) {
			r.signIn("bob")
			r.invite("alice", "sip:"+bob, timer("600"))
			r.get("alice", 100)
			r.answer("bob", r.get("bob", "INVITE"), 200)
			ok := r.get("alice", 200)
			if got := ok.Get(sip.HSessionExpires); got != "600;refresher=uac" {
				t.Fatalf("the caller was told %q", got)
			}
			r.within(sip.ACK, "alice", ok, 1)
			r.get("bob", "ACK")
			want := "610000"
			if refreshed {
				r.sleep(5 * time.Minute)
				r.within(sip.UPDATE, "alice", ok, 2, timer("300"))
				r.answer("bob", r.get("bob", "UPDATE"), 200)
				r.get("alice", 200)
			}
			r.sleep(10*time.Minute + 20*time.Second)
			if _, end := r.ended(outcomeLost); end.Meta[store.MetaDuration] != want {
				t.Errorf("refreshed %v: lost after %s ms, want %s", refreshed, end.Meta[store.MetaDuration], want)
			}
		})
	}
}
