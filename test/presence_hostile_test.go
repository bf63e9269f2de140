package test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/resourcelist"
	"github.com/parley-im/parley/wire/sip"
)

// listBody makes the SUBSCRIBE one to a list of its own (RFC 5367).
func listBody(body string) func(*sip.Draft) {
	return func(d *sip.Draft) {
		d.Add(sip.HRequire, "recipient-list-subscribe").Add(sip.HSupported, "eventlist").Add(sip.HContentDisposition, "recipient-list")
		d.Body(resourcelist.ContentType, []byte(body))
	}
}

// entries is a list of so many people.
func entries(n int, uri func(int) string) string {
	d := resourcelist.Document{Lists: []resourcelist.List{{}}}
	for i := range n {
		d.Lists[0].Items = append(d.Lists[0].Items, resourcelist.Item{URI: uri(i)})
	}
	return string(d.Append(nil))
}

// Bad input of issue 4 and of hostile.md, rows 5, 6, 11, 14 and 23, as PUBLISH and SUBSCRIBE.
func TestHostilePresence(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		for name, kind := range map[string]transport.Kind{"alice": transport.TCP, "carol": transport.WS} {
			u := s.SignedIn(name, kind, "127.0.0.30")
			u.For(t)
			hostilePublish(t, u)
			hostileSubscribe(t, u)
			u.Close()
		}
	}, func(c *config.Config) { c.Presence.Subscriptions = 300 })
}

func hostilePublish(t *testing.T, u *UA) {
	t.Helper()
	good := activity("alice", "busy")
	header := func(id sip.HeaderID, value string) func(*sip.Draft) {
		return func(d *sip.Draft) { d.Set(id, value) }
	}
	for _, c := range []struct {
		what, etag, body string
		status           int
		edit             func(*sip.Draft)
	}{
		{"stale tag", "QQQQQQQQQQQQQQQQ.1", good, 412, nil},
		{"tag of 5,000 bytes", strings.Repeat("x", 5000), good, 412, nil},
		{"tag with a huge number", "x." + strings.Repeat("z", 100), good, 412, nil},
		{"for somebody else", "", good, 403, func(d *sip.Draft) { d.SetURI("sip:" + AOR("bob")) }},
		{"for nobody", "", good, 403, func(d *sip.Draft) { d.SetURI("sip:" + AOR("nobody")) }},
		{"no Event", "", good, 489, func(d *sip.Draft) { d.Remove(sip.HEvent) }},
		{"Event of 5,000 bytes", "", good, 489, header(sip.HEvent, strings.Repeat("x", 5000))},
		{"Expires 1", "", good, 423, header(sip.HExpires, "1")},
		{"Expires past 32 bit", "", good, 400, header(sip.HExpires, "4294967296")},
		{"Expires of 5,000 digits", "", good, 400, header(sip.HExpires, strings.Repeat("9", 5000))},
		{"no XML", "", "no XML", 400, nil},
		{"DTD", "", `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>` + good, 400, nil},
		{"external entity", "", `<!DOCTYPE x SYSTEM "file:///etc/passwd">` + good, 400, nil},
		{"1,000 deep", "", strings.Replace(good, "<tuple", strings.Repeat("<a>", 1000)+"<tuple", 1), 400, nil},
		{"10,000 attributes", "", strings.Replace(good, "<tuple", "<a"+attributes(3000)+"/><tuple", 1), 400, nil},
		{"60 kB", "", strings.Replace(good, "<tuple", "<note>"+strings.Repeat("x", 60<<10)+"</note><tuple", 1), 413, nil},
		{"a bomb", "", spaces(50 << 20), 413, header(sip.HContentEncoding, "deflate")},
		{"NUL bytes", "", strings.Replace(good, "open", "op\x00en", 1), 400, nil},
		{"not UTF-8", "", strings.Replace(good, "open", "\xff\xfe", 1), 400, nil},
	} {
		m := u.Publish(c.etag, 600, c.body, func(d *sip.Draft) {
			if c.edit != nil {
				c.edit(d)
			}
		})
		if m.Status() != c.status {
			t.Errorf("PUBLISH, %s: %s, want %d", c.what, Line(m), c.status)
		}
	}
	// Documents with bytes changed at random get an answer, whichever.
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		b := []byte(good)
		for range 1 + rnd.IntN(4) {
			b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
		}
		if m := u.Publish("", 600, string(b)); m.Status() >= 500 || m.Status() < 200 {
			t.Errorf("PUBLISH of %q: %s", b, Line(m))
		}
	}
	last := 0
	for range 40 {
		last = u.Publish("", 600, good).Status()
	}
	if last != 403 {
		t.Errorf("the last of very many publications: %d", last)
	}
}

// spaces are so many, packed.
func spaces(n int) string { return packed(strings.Repeat(" ", n)) }

func packed(text string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // into memory
	_ = z.Close()
	return b.String()
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` a%d=""`, i)
	}
	return b.String()
}

func hostileSubscribe(t *testing.T, u *UA) {
	t.Helper()
	self := "sip:rls@" + Domain
	for _, c := range []struct {
		what, to string
		status   int
		edit     func(*sip.Draft)
	}{
		{"nobody", "nobody", 404, nil},
		{"NUL in the user", "sip:a%00b@" + Domain, 404, nil},
		{"Expires 1", "bob", 423, func(d *sip.Draft) { d.Set(sip.HExpires, "1") }},
		{"Expires past 32 bit", "bob", 400, func(d *sip.Draft) { d.Set(sip.HExpires, "4294967296") }},
		{"no Event", "bob", 489, func(d *sip.Draft) { d.Remove(sip.HEvent) }},
		{"an extension of theirs", "bob", 420, func(d *sip.Draft) { d.Add(sip.HRequire, "eventlist, x") }},
		{"a list without Supported", "sip:contacts@" + Domain, 421, nil},
		{"1,000 types", "bob", 406, func(d *sip.Draft) { d.Add(sip.HAccept, strings.TrimSuffix(strings.Repeat("a/b,", 1000), ",")) }},
		{"2,001 entries", self, 413, listBody(entries(2001, func(i int) string { return fmt.Sprint("sip:", i, "@x") }))},
		{"a list with itself inside", self, 400, listBody(entries(1, func(int) string { return self }))},
		{"lists in lists", self, 413, listBody(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + strings.Repeat("<list>", 100) + strings.Repeat("</list>", 100) + `</resource-lists>`)},
		{"a reference", self, 400, listBody(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry-ref ref="x"/></list></resource-lists>`)},
		{"DTD", self, 400, listBody(`<!DOCTYPE x [<!ENTITY a "b">]><resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`)},
		{"a bomb", self, 413, func(d *sip.Draft) { listBody(spaces(50 << 20))(d); d.Add(sip.HContentEncoding, "deflate") }},
		{"text", self, 415, func(d *sip.Draft) { d.Add(sip.HSupported, "eventlist").Body("text/plain", []byte("bob")) }},
		{"nested multiparts", self, 400, func(d *sip.Draft) {
			body := ""
			for i := range 1000 {
				body += fmt.Sprintf("--b%d\r\nContent-Type: multipart/mixed;boundary=b%d\r\n\r\n", i, i+1)
			}
			d.Add(sip.HSupported, "eventlist").Body("multipart/mixed;boundary=b0", []byte(body))
		}},
		{"URIs that are none", self, 200, listBody(entries(4, func(i int) string { return []string{"x", "sip:", "\x01", "sip:@@@"}[i] }))},
		{"a URI of 5,000 bytes", self, 400, listBody(entries(1, func(int) string { return "sip:" + strings.Repeat("x", 5000) + "@" + Domain }))},
		{"itself in another spelling", self, 400, listBody(entries(1, func(int) string { return "pres:%43ONTACTS@EXAMPLE.com" }))},
	} {
		d := u.subscribe(c.to, 600)
		if c.edit != nil {
			c.edit(d)
		}
		if m := u.Do(d); m.Status() != c.status {
			t.Errorf("SUBSCRIBE, %s: %s, want %d", c.what, Line(m), c.status)
		}
	}
	refused := 0
	for range 400 {
		if u.Do(u.subscribe("bob", 600)).Status() == 403 {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("of 400 subscriptions beyond the limit of 300 only %d were refused", refused)
	}
}

// What nobody has signed in for is not told and not taken, on any transport.
func TestHostilePresenceStrangers(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for i, kind := range kinds {
		u := s.UA("bob", kind, From(fmt.Sprintf("127.0.0.%d", 40+i)))
		for _, d := range []*sip.Draft{
			u.subscribe("alice", 600), u.subscribe("sip:contacts@"+Domain, 600, eventlist),
			u.Request(sip.SUBSCRIBE, "bob").Add(sip.HContact, u.Contact).Add(sip.HEvent, "presence.winfo"),
			u.Request(sip.PUBLISH, "bob").Add(sip.HEvent, "presence").Body(pidf.ContentType, []byte(activity("bob", "busy"))),
		} {
			if m := u.Ask(d); m.Status() != 401 && m.Status() != 407 {
				t.Errorf("%v: %s without credentials: %s", kind, d.Method(), Line(m))
			}
		}
	}
}

// Who is blocked, and everybody when somebody appears offline, learns no more than of somebody who is offline: not by asking
// once or for a list, not by asking the devices, not by writing, not by calling.
func TestPoliteBlocking(t *testing.T) {
	t.Parallel()
	s := Start(t, hasty)
	s.AddUsers("frank")
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
	if m := alice.Publish("", 600, activity("alice", "busy")); m.Status() != 200 {
		t.Fatal(Line(m))
	}
	same := func(t *testing.T) {
		t.Helper()
		a, f := bob.learns("alice"), bob.learns("frank")
		for i := range a {
			if a[i] != f[i] {
				t.Errorf("of somebody who looks offline\n%s\nof somebody who is\n%s", a[i], f[i])
			}
		}
		alice.Barrier()
		for _, m := range alice.Inbox() {
			switch m.Method() {
			case sip.OPTIONS, sip.REFER:
				t.Errorf("alice's device got %s", Line(m))
			case sip.MESSAGE:
				alice.Reply(m, 200)
			}
		}
	}
	t.Run("blocked", func(t *testing.T) {
		s.level("alice", "bob", "blocked")
		same(t)
		s.set("alice", pidf.DND, "")
		d := func(who string) *sip.Draft {
			return bob.Request(sip.INVITE, who).Add(sip.HContact, bob.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
		}
		if a, f := anonymous(bob.Do(d("alice")), "alice"), anonymous(bob.Do(d("frank")), "frank"); a != f {
			t.Errorf("a call to somebody on do not disturb:\n%s\nto somebody offline\n%s", a, f)
		}
	})
	t.Run("appears offline", func(t *testing.T) {
		s.level("alice", "bob", "team")
		s.set("alice", pidf.Offline, "")
		same(t)
	})
}

// learns is what somebody can find out about a person without being noticed, as text without what is never the same.
func (u *UA) learns(who string) (all []string) {
	u.t.Helper()
	list := listBody(entries(1, func(int) string { return "sip:" + AOR(who) }))
	for _, d := range []*sip.Draft{
		u.subscribe(who, 600), u.subscribe(who, 0), u.subscribe("sip:rls@"+Domain, 0, list),
		u.subscribe(who, 0, func(d *sip.Draft) { d.Add(sip.HAccept, pidf.DiffContentType) }),
		u.subscribe(who, 600, func(d *sip.Draft) { d.Set(sip.HEvent, "presence.winfo") }),
		u.subscribe(who, 600, func(d *sip.Draft) { d.Set(sip.HEvent, "reg") }),
		u.Request(sip.OPTIONS, who), u.Request(sip.OPTIONS, "sip:"+AOR(who)+";gr=urn:uuid:00000000-0000-4000-8000-000000000001"),
		u.Request(sip.REFER, who).Add(sip.HContact, u.Contact).Add(sip.HReferTo, "<sip:"+AOR("carol")+">"),
		u.MessageRequest(who, "are you there?"),
	} {
		m := u.Do(d)
		all = append(all, anonymous(m, who))
		if m.Method() == sip.SUBSCRIBE && m.Status() == 200 {
			n := u.Wait("a NOTIFY", func(n *sip.Message) bool { return n.IsRequest() && n.CallID() == m.CallID() })
			u.Reply(n, 200)
			all = append(all, anonymous(n, who))
		}
	}
	return all
}

// anonymous is a message without names, and without what differs between any two.
func anonymous(m *sip.Message, who string) string {
	head, body, _ := strings.Cut(string(m.Bytes()), "\r\n\r\n")
	var keep []string
	for _, line := range strings.Split(head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Via", "Call-ID", "CSeq":
			continue
		case "From", "To":
			line, _, _ = strings.Cut(line, ";tag")
		case "Subscription-State": // a second may have passed
			line, _, _ = strings.Cut(line, ";expires")
		case "Content-Type":
			if _, boundary, ok := strings.Cut(value, "boundary="); ok {
				boundary, _, _ = strings.Cut(strings.Trim(boundary, `"`), `"`)
				body = strings.ReplaceAll(body, boundary, "boundary")
				continue
			}
		case "Content-Length":
			continue
		}
		keep = append(keep, line)
	}
	return strings.ReplaceAll(strings.Join(keep, "\n")+"\n\n"+body, who, "X")
}

// A watcher who is gone is not looked for at an address that never asked: neither where the Contact points nor where a route
// does that is not the proxy which handed us the SUBSCRIBE.
func TestNotifyWhereItWasAsked(t *testing.T) {
	t.Parallel()
	s := Start(t, hasty)
	alice, carol := s.SignedIn("alice", transport.TCP), s.SignedIn("carol", transport.TCP)
	victim, err := net.ListenPacket("udp", "127.0.0.99:0")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	tcp, err := net.Listen("tcp", "127.0.0.99:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for _, edit := range []func(*sip.Draft){
		func(d *sip.Draft) { d.Add(sip.HRecordRoute, "<sip:"+victim.LocalAddr().String()+";lr>") },
		func(d *sip.Draft) { d.Add(sip.HRecordRoute, "<sip:"+tcp.Addr().String()+";transport=tcp;lr>") },
		func(d *sip.Draft) { d.Set(sip.HContact, "<sip:x@"+victim.LocalAddr().String()+">") },
		func(d *sip.Draft) { d.Set(sip.HContact, "<sip:x@"+tcp.Addr().String()+";transport=tcp>") },
	} {
		bob := s.SignedIn("bob", transport.TCP)
		bob.Watch("alice", edit)
		bob.Close()
	}
	w := carol.Watch("alice")
	for _, name := range []string{"busy", "meeting", "busy"} { // what goes to bob goes before what goes to carol
		ok := alice.Publish("", 600, activity("alice", name))
		w.Sees(map[string]pidf.Availability{"busy": pidf.Busy, "meeting": pidf.InMeeting}[name])
		alice.Publish(ok.Get(sip.HSIPETag), 0, "")
		w.Sees(pidf.Available)
	}
	soon := time.Now().Add(100 * time.Millisecond)
	_ = victim.SetReadDeadline(soon)             // a socket takes deadlines
	_ = tcp.(*net.TCPListener).SetDeadline(soon) // so does a listener
	buf := make([]byte, 2000)
	if n, _, err := victim.ReadFrom(buf); err == nil {
		t.Errorf("somebody who never asked got\n%s", buf[:n])
	}
	if _, err := tcp.Accept(); err == nil {
		t.Error("the server made a connection to somebody who never asked")
	}
}

// One account's lists of thousands whom nobody knows, asked for all at once, with names as long as a body: what is too much at a
// time is refused at once, what is long is cut, and others are served meanwhile.
func TestHostileLists(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		u := s.SignedIn("alice", transport.TCP, "127.0.0.31")
		u.For(t)
		defer u.Close()
		const most = 100
		var all []*sip.Draft
		for i := range most {
			d := u.subscribe("sip:rls@"+Domain, 0, listBody(entries(1000, func(k int) string { return fmt.Sprintf("sip:%d.%d@%s", i, k, Domain) })))
			u.Write(d.Bytes())
			all = append(all, d)
		}
		answers := map[int]int{}
		for _, d := range all {
			m := u.Final(d)
			answers[m.Status()]++
			if m.Status() >= 500 && m.Get(sip.HRetryAfter) == "" {
				t.Errorf("%s without Retry-After", Line(m))
			}
		}
		// 403 is for those beyond what one account may watch, which all end when their NOTIFYs were not answered.
		busy := answers[500] + answers[503] // for the whole server, or for what this account asks for
		if answers[200] == 0 || busy == 0 || answers[200]+busy+answers[403] != most {
			t.Errorf("answers: %v", answers)
		}
		name := `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="sip:` + AOR("bob") + `"><display-name>` + strings.Repeat("é", 200_000) + `</display-name></entry></list></resource-lists>`
		u = s.SignedIn("carol", transport.TCP, "127.0.0.31")
		u.For(t)
		defer u.Close()
		d := u.subscribe("sip:rls@"+Domain, 600, listBody(packed(name)))
		m := u.Do(d.Add(sip.HContentEncoding, "deflate"))
		if m.Status() != 200 {
			t.Fatal(Line(m))
		}
		n := u.Wait("the NOTIFY", func(n *sip.Message) bool { return n.IsRequest() && n.CallID() == m.CallID() })
		u.Reply(n, 200)
		if len(n.Body()) > 4000 || !strings.Contains(string(n.Body()), "<name>éé") {
			t.Errorf("a name of 400 kB makes a NOTIFY of %d bytes", len(n.Body()))
		}
	})
}
