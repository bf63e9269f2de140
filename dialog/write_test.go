package dialog

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/transaction"
)

// TestWrite: a NOTIFY that is written straight into bytes is the one that a
// draft makes, and where a draft has to clean or to order something, a draft is
// asked for.
func TestWrite(t *testing.T) {
	now := time.Now()
	n := &Notifier{o: Options{Event: "presence"}, base: now}
	plain := func() *Subscription {
		return &Subscription{n: n, state: Active, expires: n.instant(now.Add(time.Hour)), d: Dialog{
			ID: ID{CallID: "c@h", Local: "ours", Remote: "theirs"}, LocalURI: "<sip:bob@example.com>", RemoteURI: `"A" <sip:alice@example.com>`,
			Target: "sip:alice@192.0.2.7:5060;transport=udp", LocalSeq: 6,
		}}
	}
	body := []byte("<presence/>\r\n\x00")
	for _, c := range []struct {
		name  string
		draft bool // is needed
		with  func(*Subscription, *notice)
	}{
		{"active", false, func(*Subscription, *notice) {}},
		{"pending", false, func(s *Subscription, v *notice) { s.state, v.body = Pending, nil }},
		{"over", false, func(s *Subscription, v *notice) { s.is.closing, s.reason, s.retry = true, "probation", 60 }},
		{"the end of parts", false, func(s *Subscription, v *notice) { s.state = Terminated }},
		{"id, option tag, spelling", false, func(s *Subscription, v *notice) { s.eventID, s.require, s.event = "7", "eventlist", "Presence" }},
		{"no tag of RFC 2543", false, func(s *Subscription, v *notice) { s.d.Remote = "" }},
		{"the last CSeq", false, func(s *Subscription, v *notice) { s.d.LocalSeq = math.MaxInt32 - 1 }},
		{"CSeq begins again", false, func(s *Subscription, v *notice) { s.d.LocalSeq = math.MaxInt32 }},
		{"body without type", false, func(s *Subscription, v *notice) { v.typ = "" }},
		{"loose route", true, func(s *Subscription, v *notice) { s.d.Routes = []string{"<sip:p.example.com;lr>"} }},
		{"strict route", true, func(s *Subscription, v *notice) { s.d.Routes = []string{"<sip:p.example.com>"} }},
		{"line end in a value", true, func(s *Subscription, v *notice) { v.typ = "text/plain\r\nX: y" }},
		{"NUL in a value", true, func(s *Subscription, v *notice) { s.d.RemoteURI = "<sip:a\x00@b>" }},
		{"space in the target", true, func(s *Subscription, v *notice) { s.d.Target = "sip:a b@c" }},
		{"line end in the target", true, func(s *Subscription, v *notice) { s.d.Target = "sip:a\r\n@c" }},
	} {
		s, v := plain(), notice{contact: "sip:us:5060", now: now, typ: "application/pidf+xml", body: body}
		c.with(s, &v)
		before := s.d.LocalSeq
		got, line := s.write(&v)
		if (got == nil) != c.draft {
			t.Errorf("%s: draft needed: %v", c.name, got == nil)
		}
		if got == nil {
			if s.d.LocalSeq != before {
				t.Errorf("%s: CSeq went on to %d", c.name, s.d.LocalSeq)
			}
			continue
		}
		after := s.d.LocalSeq
		s.d.LocalSeq = before
		want := s.draft(&v).Bytes()
		got = got[transaction.ViaRoom:]
		if !bytes.Equal(got, want) || s.d.LocalSeq != after {
			t.Errorf("%s: CSeq %d and\n%s\nwant %d and\n%s", c.name, after, got, s.d.LocalSeq, want)
		}
		if !strings.HasSuffix(string(got[:line]), " SIP/2.0\r\n") || bytes.IndexByte(got, '\n') != line-1 {
			t.Errorf("%s: the request line has %d bytes", c.name, line)
		}
	}
}
