package test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Row 22 of the list of bad input, for calls: wherever a person could write words, what arrives is on record.

// place puts words somewhere into a message.
type place struct {
	name    string
	put     func(d *sip.Draft, words string)
	arrives bool // clients use it: it must not get lost
}

func rowOf(name, format string) func(*sip.Draft, string) {
	return func(d *sip.Draft, words string) {
		d.RemoveName(name).AddName(name, fmt.Sprintf(format, words))
	}
}

// named puts words before the address of a header, or behind it.
func named(id sip.HeaderID, before, behind string) func(*sip.Draft, string) {
	return func(d *sip.Draft, words string) {
		v := d.Get(id)
		if v == "" {
			return
		}
		if !strings.HasPrefix(v, "<") {
			v = v[strings.IndexByte(v, '<'):]
		}
		if before != "" {
			v = fmt.Sprintf(before, words) + " " + v
		}
		if behind != "" {
			v += fmt.Sprintf(behind, words)
		}
		d.Set(id, v)
	}
}

func described(line string) func(*sip.Draft, string) {
	return func(d *sip.Draft, words string) {
		_, method, _ := strings.Cut(d.Get(sip.HCSeq), " ")
		if method == sip.BYE || method == sip.INFO || method == sip.NOTIFY || method == sip.REFER || d.Status() >= 300 {
			return
		}
		text := SDP("audio 4000 RTP/AVP 0")
		line := fmt.Sprintf(line, words)
		switch line[0] {
		case 's', 'o':
			text = regexp.MustCompile(`(?m)^`+line[:1]+`=[^\r\n]*`).ReplaceAllString(text, line)
		case 'a':
			text += line + "\r\n"
		default: // behind s=, in its order
			text = regexp.MustCompile(`(?m)^s=.*?\r\n`).ReplaceAllString(text, "${0}"+line+"\r\n")
		}
		d.Body("application/sdp", []byte(text))
	}
}

var places = []place{
	{"name in From", named(sip.HFrom, `"%s"`, ""), true},
	{"bare name in From", named(sip.HFrom, `%s`, ""), true},
	{"parameter of From", named(sip.HFrom, "", ";note=%s"), false},
	{"name in To", named(sip.HTo, `"%s"`, ""), false},
	{"name in Contact", named(sip.HContact, `"%s"`, ""), false},
	{"parameter of Contact", named(sip.HContact, "", ";note=%s"), false},
	{"description in Contact", named(sip.HContact, "", `;description="<%s>"`), false},
	{"another header", rowOf("X-Note", "%s"), true},
	{"twin of another header", rowOf("x-NOTE", "%s"), true},
	{"P-header", rowOf("P-Early-Media", "%s"), false},
	{"Subject", rowOf("Subject", "%s"), false},
	{"Reason", rowOf("Reason", `SIP;cause=200;text="%s"`), true},
	{"Reason of its own", rowOf("Reason", `%s;cause=1`), false},
	{"Warning", rowOf("Warning", `399 x "%s"`), false},
	{"Call-Info", rowOf("Call-Info", "<http://x/%s>;purpose=icon"), true},
	{"Alert-Info", rowOf("Alert-Info", "<http://x/%s>"), true},
	{"Error-Info", rowOf("Error-Info", "<http://x/%s>"), false},
	{"Organization", rowOf("Organization", "%s"), false},
	{"User-Agent", rowOf("User-Agent", "%s"), false},
	{"Server", rowOf("Server", "%s"), false},
	{"Reply-To", rowOf("Reply-To", `"%s" <sip:x@example.com>`), false},
	{"In-Reply-To", rowOf("In-Reply-To", "%s"), false},
	{"Retry-After", rowOf("Retry-After", "5 (%s)"), false},
	{"Priority", rowOf("Priority", "%s"), false},
	{"Supported", rowOf("Supported", "%s"), false},
	{"Allow", rowOf("Allow", "%s"), false},
	{"Allow-Events", rowOf("Allow-Events", "%s"), false},
	{"Accept", rowOf("Accept", "text/%s"), false},
	{"Accept-Language", rowOf("Accept-Language", "%s"), false},
	{"Accept-Encoding", rowOf("Accept-Encoding", "%s"), false},
	{"Accept-Contact", rowOf("Accept-Contact", `*;note="<%s>"`), false},
	{"Content-Language", rowOf("Content-Language", "%s"), false},
	{"Content-Disposition", rowOf("Content-Disposition", "session;filename=%s"), false},
	{"Content-Type", rowOf("Content-Type", "application/sdp;note=%s"), false},
	{"Session-Expires", rowOf("Session-Expires", "1800;note=%s"), false},
	{"Session-ID", rowOf("Session-ID", "%s"), false},
	{"Privacy", rowOf("Privacy", "%s"), false},
	{"History-Info", rowOf("History-Info", "<sip:bob@example.com>;index=1;note=%s"), false},
	{"Diversion", rowOf("Diversion", `"%s" <sip:bob@example.com>`), false},
	{"User-to-User", rowOf("User-to-User", "%s;encoding=hex"), true},
	{"Geolocation", rowOf("Geolocation", "<http://x/%s>"), false},
	{"Proxy-Authorization", rowOf("Proxy-Authorization", `Digest username="%s",realm="x",nonce="x",uri="sip:x",response="00000000000000000000000000000000"`), false},
	{"challenge", rowOf("WWW-Authenticate", `Digest realm="%s",nonce="x"`), false},
	{"parameter of Via", func(d *sip.Draft, words string) {
		if d.Method() != "" {
			d.ReplaceFirst(sip.HVia, d.Get(sip.HVia)+";note="+words)
		}
	}, false},
	{"Request-URI", func(d *sip.Draft, words string) {
		if d.URI() != "" {
			d.SetURI(d.URI() + ";note=" + words)
		}
	}, false},
	{"s= of SDP", described("s=%s"), true},
	{"o= of SDP", described("o=%s 1 1 IN IP4 127.0.0.1"), true},
	{"i= of SDP", described("i=%s"), true},
	{"u= of SDP", described("u=http://x/%s"), true},
	{"e= of SDP", described("e=%s@x (x)"), true},
	{"p= of SDP", described("p=+1 (%s)"), true},
	{"a= of SDP", described("a=note:%s"), true},
}

// listener remembers where words arrived.
type listener struct {
	t       *testing.T
	place   *place
	sent    map[string]string // words: the message that they were in
	arrived map[string][]byte
}

var spoken = regexp.MustCompile(`words-[a-z0-9]+`)

func (l *listener) say(what string, d *sip.Draft) *sip.Draft {
	words := "words-" + strings.ToLower(Unique())
	before := string(d.Bytes())
	l.place.put(d, words)
	if string(d.Bytes()) != before {
		l.sent[words] = what
	}
	return d
}

func (l *listener) hear(m *sip.Message) *sip.Message {
	for _, w := range spoken.FindAllString(string(m.Bytes()), -1) {
		if _, known := l.arrived[w]; !known {
			l.arrived[w] = m.Bytes()
		}
	}
	return m
}

// reply answers with words and waits for what arrives of the answer. A response of which nothing may be said may be
// missing altogether.
func (l *listener) reply(from, to *UA, req *sip.Message, status int, what string, edits ...func(*sip.Draft)) *sip.Message {
	l.t.Helper()
	from.Write(l.say(what, from.Response(req, status, edits...)).Bytes())
	seq, _ := req.CSeq() // it came from our own user agent
	m := to.Wait(fmt.Sprintf("%d, %s, %s", status, what, l.place.name), func(m *sip.Message) bool {
		c, err := m.CSeq()
		return err == nil && !m.IsRequest() && c == seq && (m.Status() == status || m.Status() >= 300)
	})
	return l.hear(m)
}

// request sends a request inside the dialog and has it answered; false when the server refused it.
func (l *listener) request(from, to *UA, dlg *Dialog, method string, edits ...func(*sip.Draft)) bool {
	l.t.Helper()
	d := from.InDialog(dlg, method)
	for _, edit := range edits {
		edit(d)
	}
	l.say(method, d)
	from.Write(d.Bytes())
	if method == sip.ACK {
		l.hear(to.Expect(method))
		return true
	}
	arrived, answer := l.either(from, to, method)
	if arrived == nil {
		if method == sip.INVITE {
			req, _ := d.Message() // our own
			from.Write(ackFor(req, answer).Bytes())
		}
		return false
	}
	l.hear(arrived)
	ok := l.reply(to, from, arrived, 200, "200 "+method, func(d *sip.Draft) {
		if method == sip.INVITE || method == sip.UPDATE {
			d.Body("application/sdp", []byte(SDP("audio 4100 RTP/AVP 0")))
		}
	})
	if method == sip.INVITE && ok.Status() < 300 {
		l.request(from, to, dlg, sip.ACK)
	}
	return true
}

// either waits until a request arrives or is refused.
func (l *listener) either(from, to *UA, method string) (arrived, refusal *sip.Message) {
	l.t.Helper()
	arrived, refusal = Either(from, to, method)
	if arrived != nil {
		l.hear(arrived)
	}
	return arrived, refusal
}

// givenUp is a call that the caller cancels with words.
func (l *listener) givenUp(from, to *UA) {
	l.t.Helper()
	d := from.Request(sip.INVITE, to.User).Add(sip.HContact, from.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
	from.Write(d.Bytes())
	invite := to.Expect(sip.INVITE)
	to.Reply(invite, 180)
	from.Wait("180", func(m *sip.Message) bool { return m.Status() == 180 })
	req, _ := d.Message() // our own
	cancel := cancelFor(req)
	if l.place.name != "parameter of Via" { // it would belong to no INVITE
		l.say("CANCEL", cancel)
	}
	from.Write(cancel.Bytes())
	to.Reply(l.hear(to.Expect(sip.CANCEL)), 200)
	to.Write(l.say("487", to.Response(invite, 487)).Bytes())
	no := l.hear(from.Wait("487", func(m *sip.Message) bool { return final(m) && m.Method() == sip.INVITE }))
	from.Write(ackFor(req, no).Bytes())
	to.Expect(sip.ACK)
}

func TestCallsAreOnRecord(t *testing.T) {
	s := Start(t)
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
	defer alice.Close()
	defer bob.Close()
	offer := func(d *sip.Draft) { d.Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0"))) }
	var heard []*listener
	for i := range places {
		t.Run(places[i].name, func(t *testing.T) {
			alice.For(t)
			bob.For(t)
			l := &listener{t: t, place: &places[i], sent: map[string]string{}, arrived: map[string][]byte{}}
			heard = append(heard, l)

			// A call that is refused, and one that is given up.
			d := l.say("INVITE that is refused", alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0"))))
			alice.Write(d.Bytes())
			invite, no := l.either(alice, bob, sip.INVITE)
			if invite == nil { // some of it is no INVITE that can be carried
				req, _ := d.Message() // our own
				alice.Write(ackFor(req, no).Bytes())
				d = alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
				alice.Write(d.Bytes())
				invite = bob.Expect(sip.INVITE)
			}
			no = l.reply(bob, alice, invite, 486, "486")
			req, _ := d.Message() // our own
			alice.Write(ackFor(req, no).Bytes())
			bob.Expect(sip.ACK)

			l.givenUp(alice, bob)

			// A call with all there is.
			d = alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Add(sip.HSupported, "100rel")
			offer(d)
			alice.Write(d.Bytes())
			invite = bob.Expect(sip.INVITE)
			l.reply(bob, alice, invite, 180, "180")
			early := l.reply(bob, alice, invite, 183, "183", offer, func(d *sip.Draft) { d.Add(sip.HRequire, "100rel").Add(sip.HRSeq, "1") })
			req, _ = d.Message() // our own
			dlg := DialogUAC(req, early)
			l.request(alice, bob, dlg, sip.PRACK, offer, func(d *sip.Draft) { d.Add(sip.HRAck, "1 1 INVITE") })
			ok := l.reply(bob, alice, invite, 200, "200", offer)
			if ok.Status() >= 300 {
				alice.Write(ackFor(req, ok).Bytes())
				return // refused in the callee's name
			}
			answer, _ := bob.Response(invite, 200).Message() // our own
			back := DialogUAS(invite, answer)
			dlg.Target = contactURI(ok)
			l.request(alice, bob, dlg, sip.ACK)
			for _, side := range []struct {
				from, to *UA
				dlg      *Dialog
			}{{alice, bob, dlg}, {bob, alice, back}} {
				contact := func(d *sip.Draft) { d.Add(sip.HContact, side.from.Contact) }
				l.request(side.from, side.to, side.dlg, sip.INVITE, contact, offer)
				l.request(side.from, side.to, side.dlg, sip.UPDATE, contact, offer)
				l.request(side.from, side.to, side.dlg, sip.INFO, func(d *sip.Draft) { d.Body("application/dtmf-relay", []byte("Signal=5\r\nDuration=160\r\n")) })
				l.request(side.from, side.to, side.dlg, sip.OPTIONS)
				l.request(side.from, side.to, side.dlg, sip.REFER, contact, func(d *sip.Draft) { d.Add(sip.HReferTo, "<sip:carol@example.com>") })
				l.request(side.from, side.to, side.dlg, sip.NOTIFY, contact, func(d *sip.Draft) {
					d.Add(sip.HEvent, "refer").Add(sip.HSubscriptionState, "active").Body("message/sipfrag", []byte("SIP/2.0 200 "+Unique()))
				})
			}
			if !l.request(bob, alice, back, sip.BYE) {
				t.Error("BYE was not carried")
			}

			// Outside a call.
			for _, method := range []string{sip.OPTIONS, sip.REFER} {
				d := alice.Request(method, "bob")
				if method == sip.REFER {
					d.Add(sip.HContact, alice.Contact).Add(sip.HReferTo, "<sip:carol@example.com>")
				}
				alice.Write(l.say(method+" outside", d).Bytes())
				if m, _ := l.either(alice, bob, method); m != nil {
					l.reply(bob, alice, m, 200, "200 of "+method+" outside")
				}
			}
		})
	}
	var log strings.Builder
	for _, r := range s.RecordsOf(AOR("alice"), "call.start", "call.text", "call.end") {
		log.WriteString("\n" + r.ContentType + "\n" + string(r.Body))
		for _, v := range r.Meta {
			log.WriteString("\n" + v)
		}
	}
	on := map[string]bool{}
	for _, w := range spoken.FindAllString(log.String(), -1) {
		on[w] = true
	}
	for _, l := range heard {
		for words, where := range l.arrived {
			if !on[words] {
				t.Errorf("%s in %s: it arrived, the log does not have it:\n%s", l.place.name, l.sent[words], where)
			}
		}
		for words, what := range l.sent {
			if _, ok := l.arrived[words]; !ok && l.place.arrives && !strings.Contains(what, "outside") && what != "CANCEL" {
				t.Errorf("%s in %s: it was lost", l.place.name, what)
			}
		}
		if len(l.sent) == 0 {
			t.Errorf("%s was never said", l.place.name)
		}
	}
}
