package call

import (
	"testing"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// bobIsQuiet wants peace of everybody but carol.
func bobIsQuiet(o *Options) {
	o.Quiet = func(owner, from string) bool { return owner == bob && from != carol }
}

func header(id sip.HeaderID, value string) func(*sip.Draft) {
	return func(d *sip.Draft) { d.Add(id, value) }
}

// A call that would disturb rings nowhere, and is a missed call in the log.
func TestQuiet(t *testing.T) {
	for _, headers := range [][]func(*sip.Draft){
		nil,
		{header(sip.HPriority, "emergency")},
		{header(sip.HReplaces, "call-x;to-tag=t-bob;from-tag=t-x")}, // of no call that there is
	} {
		run(t, func(r *rig) {
			r.signIn("bob", "bob2")
			invite := r.invite("alice", "sip:"+bob, headers...)
			r.get("alice", 100)
			no := r.get("alice", 480)
			if no.Reason() != "Do Not Disturb" || no.Get(sip.HWarning) != `399 parley "bob@example.com does not want to be disturbed now"` {
				t.Errorf("the caller got\n%s", no.Bytes())
			}
			r.ack("alice", invite, no)
			r.quiet("alice", "bob", "bob2")
			start, end := r.ended("do not disturb")
			if start.From != alice || start.To != bob || end.Meta[store.MetaStatus] != "480" || end.Meta[store.MetaDuration] != "" || end.Device != "" {
				t.Errorf("start %+v, end %+v", start, end)
			}
		}, bobIsQuiet)
	}
}

// It is recorded before it is answered, like any call.
func TestQuietIsRecordedFirst(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		r.store.hold()
		r.invite("alice", "sip:"+bob)
		r.get("alice", 100)
		r.quiet("alice", "bob")
		r.store.release()
		r.get("alice", 480)
		r.ended("do not disturb")
	}, bobIsQuiet)
}

func TestMayInterrupt(t *testing.T) {
	run(t, func(r *rig) {
		r.signIn("bob")
		_, at := r.ringing("carol", "sip:"+bob, "bob")
		r.answer("bob", at["bob"], 200)
		r.hangUp("carol", "bob", r.get("carol", 200))
		r.ended(outcomeHungUp)
	}, bobIsQuiet)
}

// RFC 3891 §3: what takes the place of a call in which somebody is does not disturb; it has to be that one's call, and one that
// has been answered or that the one is making.
func TestQuietReplaces(t *testing.T) {
	for _, row := range []struct {
		name, value string
		answered    bool
		passes      bool
	}{
		{"another device of the other side", "call-carol;to-tag=t-bob;from-tag=t-carol", true, true},
		{"spaces and parameters", "call-carol ; From-Tag=t-carol;to-tag=t-bob;early-only", true, true},
		{"as the other side sees it", "call-carol;to-tag=t-carol;from-tag=t-bob", true, false},
		{"another tag", "call-carol;to-tag=t-other;from-tag=t-carol", true, false},
		{"no tags", "call-carol", true, false},
		{"another call", "call-other;to-tag=t-bob;from-tag=t-carol", true, false},
		{"while it rings at the one who is called", "call-carol;to-tag=t-bob;from-tag=t-carol", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, func(r *rig) {
				r.signIn("bob")
				_, at := r.ringing("carol", "sip:"+bob, "bob")
				if row.answered {
					r.answer("bob", at["bob"], 200)
					r.within(sip.ACK, "carol", r.get("carol", 200), 1)
					r.get("bob", "ACK")
				}
				r.invite("alice", "sip:"+bob, header(sip.HReplaces, row.value))
				r.get("alice", 100)
				if row.passes {
					r.answer("bob", r.get("bob", "INVITE"), 200)
					r.get("alice", 200)
				} else {
					r.get("alice", 480)
				}
				r.quiet("alice", "bob")
			}, bobIsQuiet)
		})
	}
}

// Bob calls somebody who does not answer; a colleague picks up in that one's place.
func TestQuietPickup(t *testing.T) {
	for _, tags := range []string{"to-tag=t-bob;from-tag=t-carol", "to-tag=t-carol;from-tag=t-bob"} {
		run(t, func(r *rig) {
			r.signIn("bob2", "carol")
			r.ringing("bob", "sip:"+carol, "carol")
			r.invite("alice", "sip:"+bob, header(sip.HReplaces, "call-bob;"+tags))
			r.get("alice", 100)
			if tags[7:12] == "t-bob" {
				r.get("bob2", "INVITE")
			} else {
				r.get("alice", 480)
			}
			r.quiet("bob2")
		}, bobIsQuiet)
	}
}
