package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

// plans are what becomes of calls. The callee reads its part in the Call-ID.
var plans = []struct {
	name    string
	percent int
	want    int // final response of the INVITE; 0: any
}{
	{"answer", 60, 200}, {"cancel", 20, 487}, {"busy", 10, 486}, {"silent", 3, 200}, {"unanswered", 2, 480}, {"away", 5, 0},
}

// call sets a call up, of any kind.
func (s *soaking) call() {
	n, plan := rand.IntN(100), 0
	for n >= plans[plan].percent {
		n -= plans[plan].percent
		plan++
	}
	p := plans[plan]
	ses, to := s.anyone(), s.people[rand.IntN(s.steady)]
	if p.name == "away" {
		to = s.people[s.steady+rand.IntN(len(s.people)-s.steady)] // or here, by chance
	} else if to.there() == nil {
		return
	}
	if ses == nil || ses.p == to {
		return
	}
	s.count("calls " + p.name)
	c := ses.c
	r := &ua.Request{
		Method: sip.INVITE, URI: to.aor, To: "<" + to.aor + ">", CallID: p.name + "." + strconv.FormatInt(s.numbers.Add(1), 10) + "." + s.trial.id,
		Contact: true, ContentType: "application/sdp", Body: ua.SDP,
	}
	if p.name == "silent" { // its end is known from the session timer alone (RFC 4028)
		r.Headers = "Supported: timer\r\nSession-Expires: 90\r\n"
	}
	ends := p.name != "silent" && p.name != "unanswered" // by itself, and soon
	if ends {
		s.underWay.Add(1)
	}
	giveUp := func() bool { return true }
	over := func() {
		giveUp()
		if ends {
			s.underWay.Add(-1)
		}
	}
	r.Done = func(m *sip.Message) {
		if m == nil {
			over()
			return // the connection ended, or the client has told
		}
		gaveUp := p.name == "unanswered" && m.Status() == 487
		if p.want != 0 && m.Status() != p.want && !gaveUp && !s.left.Load() && !s.unrecorded(m.Status(), m.Get(sip.HWarning)) {
			s.trial.problem("a call to be %q got %d %s", p.name, m.Status(), m.Get(sip.HWarning))
		}
		if m.Status()/100 != 2 {
			over()
			return
		}
		s.hangUp(ses, r, m, p.name == "silent", over)
	}
	if p.name == "unanswered" {
		r.Patience = 5 * time.Minute // the server's ring time is shorter, but the end of the load may come first
		giveUp = context.AfterFunc(s.load, func() { c.Cancel(r) })
	}
	c.Send(r)
	if p.name == "cancel" || p.name == "away" {
		time.AfterFunc(time.Duration(1000+rand.IntN(2000))*time.Millisecond, func() { c.Cancel(r) })
	}
}

// hangUp acknowledges an answered call and ends it after a while, or never.
func (s *soaking) hangUp(ses *session, r *ua.Request, m *sip.Message, never bool, over func()) {
	bye := ses.c.Acknowledge(r, m)
	bye.Done = func(m *sip.Message) {
		over()
		if m != nil && m.Status() != 200 && !s.left.Load() {
			s.trial.problem("BYE got %d %s", m.Status(), m.Get(sip.HWarning))
		}
	}
	time.AfterFunc(time.Duration(1000+rand.IntN(9000))*time.Millisecond, func() {
		ses.c.Settled(r)
		if !never {
			ses.c.Send(bye)
		}
	})
}

// ask asks the server what it can do.
func (s *soaking) ask() {
	ses := s.anyone()
	if ses == nil {
		return
	}
	uri := "sip:" + s.o.domain
	ses.c.Send(&ua.Request{
		Method: sip.OPTIONS, URI: uri, To: "<" + uri + ">", CallID: "o" + strconv.FormatInt(s.numbers.Add(1), 10) + "." + s.trial.id,
		Done: func(m *sip.Message) { s.want("OPTIONS", m, 200) },
	})
	s.count("options")
}

// want counts another answer as a problem. No answer was told already, or the connection has ended.
func (s *soaking) want(what string, m *sip.Message, status int) {
	if m != nil && m.Status() != status && !s.left.Load() {
		s.trial.problem("%s got %d %s", what, m.Status(), m.Get(sip.HWarning))
	}
}

func (s *soaking) subscribe() {
	if ses := s.anyone(); ses != nil {
		ses.watch()
	}
}

// watch subscribes to the person's own registrations (RFC 3680), for a minute or until it has seen enough.
func (ses *session) watch() {
	s, c := ses.p.s, ses.c
	short := rand.IntN(2) == 0
	r := &ua.Request{
		Method: sip.SUBSCRIBE, URI: c.AOR, To: "<" + c.AOR + ">", CallID: "s" + strconv.FormatInt(s.numbers.Add(1), 10) + "." + s.trial.id,
		Contact: true, Headers: "Event: reg\r\nExpires: 60\r\nAccept: application/reginfo+xml\r\n",
	}
	r.Done = func(m *sip.Message) {
		s.want("SUBSCRIBE", m, 200)
		if m == nil || m.Status() != 200 || !short {
			return
		}
		end := &ua.Request{Method: sip.SUBSCRIBE, URI: r.URI, To: strings.Clone(m.Get(sip.HTo)), CallID: r.CallID, Contact: true, Headers: "Event: reg\r\nExpires: 0\r\n"}
		if list, _, err := m.Contacts(); err == nil && len(list) > 0 {
			end.URI = list[0].URI.String()
		}
		end.Done = func(m *sip.Message) { s.want("the end of a SUBSCRIBE", m, 200) }
		time.AfterFunc(time.Duration(1+rand.IntN(20))*time.Second, func() {
			if !c.Gone() {
				c.Send(end)
			}
		})
	}
	c.Send(r)
	s.count(fmt.Sprintf("subscriptions short=%v", short))
}
