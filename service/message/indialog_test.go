package message

import (
	"bytes"
	"compress/zlib"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/sip"
)

// session is one side of a dialog, with a way to send in it.
type session struct {
	r       *rig
	flow    transport.Flow
	answers chan *sip.Message
}

func (r *rig) session() *session {
	s := &session{r: r, answers: make(chan *sip.Message, 10)}
	s.flow = transport.Pipe(transport.PipeOptions{
		Kind: transport.TCP, Local: netip.MustParseAddrPort("127.0.0.1:5060"), Remote: netip.MustParseAddrPort("127.0.0.1:40001"),
		Send: func(b []byte) error {
			m, err := sip.Parse(slices.Clone(b))
			if err != nil {
				r.t.Error(err)
				return nil
			}
			s.answers <- m
			return nil
		},
	})
	r.dialogs["d1 a b"], r.dialogs["d1 b a"] = bob, alice
	return s
}

// say sends a MESSAGE inside the dialog; from signs it.
func (s *session) say(from, branch, cseq, headers, contentType, body string) {
	s.r.t.Helper()
	m, err := sip.Parse([]byte("MESSAGE sip:b@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:40001;branch=z9hG4bK" + branch + "\r\n" +
		"From: \"A name\" <sip:" + from + ">;tag=a;note=hidden\r\nTo: \"hidden\" <sip:" + bob + ">;tag=b\r\nCall-ID: d1\r\nCSeq: " + cseq + " MESSAGE\r\n" +
		"Max-Forwards: 70\r\nRoute: <sip:~token@127.0.0.1;lr>\r\n" + headers + "Content-Type: " + contentType + "\r\n\r\n" + body))
	if err != nil {
		s.r.t.Fatal(err)
	}
	s.r.layer.Message(m, s.flow)
}

func (s *session) answer() *sip.Message {
	s.r.t.Helper()
	return <-s.answers
}

func deflated(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return b.String()
}

// Text inside a session is recorded with its outcome, goes to the peer alone, and carries nothing that is not recorded.
func TestInDialog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		s := r.session()
		s.say(alice, "1", "2", "Subject: a subject\r\nX-Text: hidden\r\nUser-Agent: hidden\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n"+
			"Contact: <sip:hidden@192.0.2.1>\r\nCall-Info: <http://hidden/>\r\nSupported: outbound\r\nContent-Encoding: deflate\r\n", "text/plain", deflated("hello")+"hidden")
		f := <-r.forwards
		text := string(f.r.Msg.Bytes())
		if strings.Contains(text, "hidden") || strings.Contains(text, "2010") {
			t.Errorf("unrecorded text passed:\n%s", text)
		}
		for _, part := range []string{"a subject", "A name", "hello", "~token", "outbound"} {
			if !strings.Contains(text, part) {
				t.Errorf("%q is lost:\n%s", part, text)
			}
		}
		if f.o.Only != bob || f.r.Msg.FromTag() != "a" || f.r.Msg.ToTag() != "b" {
			t.Errorf("options %+v\n%s", f.o, text)
		}
		if f.r.Msg.Has(sip.HContentEncoding) || string(f.r.Msg.Body()) != "hello" {
			t.Errorf("the body is not what was recorded:\n%s", text)
		}
		if err := sip.Check(f.r.Msg); err != nil {
			t.Errorf("the forwarded message does not pass our own check: %v", err)
		}
		recs := r.records(store.KindMessage)
		if len(recs) != 1 || recs[0].From != alice || recs[0].To != bob || recs[0].MetaValue(store.MetaSubject) != "a subject" {
			t.Fatalf("records %+v", recs)
		}

		// The same once more, in flight and after the answer, is neither recorded nor passed on again.
		s.say(alice, "2", "2", "", "text/plain", "something else")
		f.r.Reply(415, "words of the peer")
		f.o.Done(route.Outcome{Status: 415, Reason: "words of the peer", Target: route.Target{Device: "urn:uuid:phone"}})
		for range 2 {
			if m := s.answer(); m.Status() != 415 {
				t.Errorf("got %d", m.Status())
			}
		}
		s.say(alice, "3", "2", "", "text/plain", "something else")
		if m := s.answer(); m.Status() != 415 {
			t.Errorf("a repeat after the answer got %d", m.Status())
		}
		if len(r.forwards) > 0 || len(r.records(store.KindMessage)) != 1 {
			t.Error("a repeat was passed on or recorded")
		}

		r.eventually("the outcome", func() bool { return len(r.records(store.KindDelivery)) == 1 })
		o := r.records(store.KindDelivery)[0]
		if o.Ref != recs[0].ID || o.Device != "urn:uuid:phone" || o.MetaValue(store.MetaOutcome) != store.OutcomeRefused ||
			o.MetaValue(store.MetaReason) != "words of the peer" || !movesNothing(&o) {
			t.Errorf("outcome %+v", o)
		}
	})
}

func TestInDialogDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		s := r.session()
		for _, end := range []route.Outcome{{Status: 200}, {Status: 0}} {
			s.say(alice, "b"+string(rune('0'+end.Status/100)), "1"+string(rune('0'+end.Status/100)), "", "text/plain", "x")
			(<-r.forwards).o.Done(end)
		}
		r.eventually("outcomes", func() bool { return len(r.records(store.KindDelivery)) == 2 })
		got := r.records(store.KindDelivery)
		if got[0].MetaValue(store.MetaOutcome) != store.OutcomeDelivered || got[1].MetaValue(store.MetaOutcome) != store.OutcomeRefused {
			t.Errorf("outcomes %+v", got)
		}
	})
}

// Only the two who talk may speak in a session, and only in one that there is.
func TestInDialogOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		s := r.session()
		s.say("carol@example.com", "1", "2", "", "text/plain", "hello")
		if m := s.answer(); m.Status() != 403 {
			t.Errorf("a third person got %d", m.Status())
		}
		delete(r.dialogs, "d1 a b")
		s.say(alice, "2", "3", "", "text/plain", "hello")
		if m := s.answer(); m.Status() != 481 {
			t.Errorf("after the end: %d", m.Status())
		}
		if len(r.forwards) > 0 || len(r.records(store.KindMessage)) > 0 {
			t.Error("passed on or recorded")
		}
	})
}

func TestTypingInDialog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t)
		s := r.session()
		s.say(alice, "1", "2", "Subject: hidden\r\nPriority: hidden\r\nX-Text: hidden\r\n", iscomposing.ContentType+";x=hidden",
			`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><x>hidden</x></isComposing>`)
		m := (<-r.forwards).r.Msg
		if text := string(m.Bytes()); strings.Contains(text, "hidden") || strings.Contains(text, "A name") {
			t.Errorf("unrecorded text passed:\n%s", text)
		}
		if state, err := iscomposing.Parse(m.Body()); err != nil || state.State != "active" {
			t.Errorf("%v\n%s", err, m.Bytes())
		}
	})
}
