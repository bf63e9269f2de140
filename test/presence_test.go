package test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/rlmi"
	"github.com/parley-im/parley/wire/sip"
	"github.com/parley-im/parley/wire/watcherinfo"
)

// hasty tells each change at once, so that tests need not wait for the least interval.
func hasty(c *config.Config) { c.Presence.Interval = 0 }

// watcher is a subscription to presence, as its watcher sees it.
type watcher struct {
	*UA
	callID string
	dlg    *Dialog
	uri    string
	list   map[string]string // availability by AOR, of a list; "-" for somebody who does not exist, "" for nothing known
	seq    uint32            // version of the list
	Last   *sip.Message      // the last NOTIFY
	doc    []byte            // the last document, of one person
	diff   uint32            // its version, of partial documents
}

// subscribe makes a SUBSCRIBE to presence.
func (u *UA) subscribe(to string, expires int, edits ...func(*sip.Draft)) *sip.Draft {
	d := u.Request(sip.SUBSCRIBE, to).Add(sip.HContact, u.Contact).Add(sip.HEvent, "presence").Add(sip.HExpires, strconv.Itoa(expires))
	for _, edit := range edits {
		edit(d)
	}
	return d
}

// Watch subscribes to somebody's presence, or to a list, and waits for the first NOTIFY.
func (u *UA) Watch(to string, edits ...func(*sip.Draft)) *watcher {
	u.t.Helper()
	d := u.subscribe(to, 600, edits...)
	resp := u.Do(d)
	if resp.Status() != 200 {
		u.t.Fatalf("%s: SUBSCRIBE to %s got %s", u.Name, to, Line(resp))
	}
	req, err := d.Message()
	if err != nil {
		u.t.Fatal(err)
	}
	w := &watcher{UA: u, callID: resp.CallID(), dlg: DialogUAC(req, resp), uri: to, list: map[string]string{}}
	w.dlg.Seq = u.cseq
	w.Next()
	return w
}

// Next takes the next NOTIFY and answers it.
func (w *watcher) Next() *sip.Message {
	w.t.Helper()
	m := w.Wait(w.Name+"'s NOTIFY about "+w.uri, func(m *sip.Message) bool {
		return m.IsRequest() && m.Method() == sip.NOTIFY && m.CallID() == w.callID
	})
	w.take(m)
	w.Reply(m, 200)
	return m
}

func (w *watcher) take(m *sip.Message) {
	w.t.Helper()
	w.Last = m
	switch mediaType, _ := m.ContentType(); mediaType {
	case "":
	case pidf.ContentType:
		w.doc = m.Body()
	case pidf.DiffContentType:
		doc, version, err := pidf.Update(w.doc, w.diff, m.Body())
		if err != nil {
			w.t.Fatalf("%s: partial document: %v\n%s", w.Name, err, m.Body())
		}
		w.doc, w.diff = doc, version
	case rlmi.MultipartType:
		w.takeList(m)
	default:
		w.t.Fatalf("%s: NOTIFY with %s", w.Name, mediaType)
	}
}

// takeList is the watcher's part of RFC 4662 §5.6.
func (w *watcher) takeList(m *sip.Message) {
	w.t.Helper()
	msg, err := rlmi.Parse(m.Get(sip.HContentType), m.Body(), rlmi.DefaultLimits)
	if err != nil {
		w.t.Fatalf("%s: list: %v\n%s", w.Name, err, m.Body())
	}
	if m.Get(sip.HRequire) != "eventlist" {
		w.t.Errorf("%s: NOTIFY about a list without Require: eventlist", w.Name)
	}
	if msg.List.Full {
		clear(w.list)
	} else if msg.List.Version != w.seq+1 {
		w.t.Errorf("%s: version %d of the list after %d", w.Name, msg.List.Version, w.seq)
	}
	w.seq = msg.List.Version
	for _, r := range msg.List.Resources {
		aor := strings.TrimPrefix(r.URI, "sip:")
		if len(r.Instances) == 0 {
			w.list[aor] = ""
			continue
		}
		i := r.Instances[0]
		if i.State == rlmi.Terminated {
			w.list[aor] = "-"
			continue
		}
		part, ok := msg.Part(i.CID)
		if !ok {
			w.t.Errorf("%s: no part for %s", w.Name, r.URI)
		}
		w.list[aor] = availability(w.t, part.Body)
	}
}

func availability(t testing.TB, doc []byte) string {
	t.Helper()
	p, err := pidf.Parse(doc)
	if err != nil {
		t.Fatalf("document: %v\n%s", err, doc)
	}
	if len(p.Persons) != 1 {
		t.Fatalf("document with %d persons\n%s", len(p.Persons), doc)
	}
	return string(p.Persons[0].Extra.Availability)
}

// Sees waits until the watcher of one person sees a state.
func (w *watcher) Sees(state pidf.Availability) {
	w.t.Helper()
	for deadline := time.Now().Add(Patience); ; {
		if w.doc != nil && availability(w.t, w.doc) == string(state) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s does not see %s:\n%s", w.Name, state, w.doc)
		}
		w.Next()
	}
}

// ListSees waits until the watcher of a list sees somebody's state.
func (w *watcher) ListSees(user, state string) {
	w.t.Helper()
	for w.list[AOR(user)] != state {
		w.Next()
	}
}

// Refresh sends SUBSCRIBE in the dialog.
func (w *watcher) Refresh(expires int) *sip.Message {
	w.t.Helper()
	d := w.InDialog(w.dlg, sip.SUBSCRIBE).Add(sip.HContact, w.Contact).Add(sip.HEvent, "presence").Add(sip.HExpires, strconv.Itoa(expires))
	return w.Do(d)
}

// Publish sends a document and returns the answer.
func (u *UA) Publish(etag string, expires int, doc string, edits ...func(*sip.Draft)) *sip.Message {
	u.t.Helper()
	d := u.Request(sip.PUBLISH, u.User).Add(sip.HEvent, "presence").Add(sip.HExpires, strconv.Itoa(expires))
	if etag != "" {
		d.Add(sip.HSIPIfMatch, etag)
	}
	if doc != "" {
		d.Body(pidf.ContentType, []byte(doc))
	}
	for _, edit := range edits {
		edit(d)
	}
	return u.Do(d)
}

// activity is a document with an activity of RFC 4480.
func activity(user, name string) string {
	return `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"` +
		` xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:` + AOR(user) + `"><tuple id="t"><status><basic>open</basic></status></tuple>` +
		`<dm:person id="p"><rpid:activities><rpid:` + name + `/></rpid:activities></dm:person></presence>`
}

func TestPresenceOfOne(t *testing.T) {
	t.Parallel()
	for _, kind := range []transport.Kind{transport.UDP, transport.TCP, transport.WS} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			s := Start(t, hasty)
			bob := s.SignedIn("bob", kind)
			w := bob.Watch("alice")
			w.Sees(pidf.Offline)
			alice := s.SignedIn("alice", kind)
			w.Sees(pidf.Available)
			ok := alice.Publish("", 600, activity("alice", "busy"))
			if ok.Status() != 200 || ok.Get(sip.HSIPETag) == "" || ok.Get(sip.HExpires) != "600" {
				t.Fatal(Line(ok))
			}
			w.Sees(pidf.Busy)
			if m := alice.Publish(ok.Get(sip.HSIPETag), 0, ""); m.Status() != 200 {
				t.Fatal(Line(m))
			}
			w.Sees(pidf.Available)
			alice.SignOut()
			w.Sees(pidf.Offline)
			if m := w.Refresh(0); m.Status() != 200 {
				t.Fatal(Line(m))
			}
			if m := w.Next(); !strings.HasPrefix(m.Get(sip.HSubscriptionState), "terminated") {
				t.Errorf("the last NOTIFY is %s", m.Get(sip.HSubscriptionState))
			}
		})
	}
}

// has puts people into somebody's list of contacts.
func (s *Server) has(owner string, people ...string) {
	s.t.Helper()
	req := &v1.AddContactsRequest{Owner: AOR(owner)}
	for _, p := range people {
		req.Contacts = append(req.Contacts, &v1.NewContact{Address: AOR(p)})
	}
	if _, err := s.API.Contacts.AddContacts(s.t.Context(), connect.NewRequest(req)); err != nil {
		s.t.Fatal(err)
	}
}

// level decides what somebody is to an owner.
func (s *Server) level(owner, person, level string) {
	s.t.Helper()
	req := &v1.SetLevelRequest{Owner: AOR(owner), Key: &v1.RelationKey{Kind: "person", Subject: AOR(person)}, Level: level}
	if _, err := s.API.Contacts.SetLevel(s.t.Context(), connect.NewRequest(req)); err != nil {
		s.t.Fatal(err)
	}
}

// set says by hand what somebody's state is.
func (s *Server) set(owner string, state pidf.Availability, note string) {
	s.t.Helper()
	req := &v1.SetPresenceRequest{Owner: AOR(owner), Manual: &v1.ManualPresence{Availability: string(state), Note: note}}
	if _, err := s.API.Presence.SetPresence(s.t.Context(), connect.NewRequest(req)); err != nil {
		s.t.Fatal(err)
	}
}

func eventlist(d *sip.Draft) { d.Add(sip.HSupported, "eventlist") }

// Who takes a call is on the phone without publishing anything; who is on do not disturb is not disturbed; who appears offline
// is not told from somebody who is.
func TestPresenceOfCalls(t *testing.T) {
	t.Parallel()
	s := Start(t, hasty)
	alice, bob, carol := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP), s.SignedIn("carol", transport.TCP)
	w := carol.Watch("alice")
	w.Sees(pidf.Available)
	caller, _ := newCall(t, alice, bob)
	w.Sees(pidf.InCall)
	if !strings.Contains(string(w.doc), "on-the-phone") {
		t.Errorf("a standard client is not told of the call:\n%s", w.doc)
	}
	alice.Write(alice.InDialog(caller, sip.BYE).Bytes())
	bob.Reply(bob.Expect(sip.BYE), 200)
	w.Sees(pidf.Available)

	s.set("alice", pidf.DND, "writing")
	w.Sees(pidf.DND)
	d := bob.Request(sip.INVITE, "alice").Add(sip.HContact, bob.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
	if m := bob.Do(d); m.Status() != 480 {
		t.Errorf("a call to somebody on do not disturb: %s", Line(m))
	}
	m := bob.MessageRequest("alice", "when you have time")
	bob.Write(m.Bytes())
	if got := alice.Hears("when you have time"); got.Get(sip.HPriority) != "non-urgent" {
		t.Errorf("priority %q", got.Get(sip.HPriority))
	}
	if m := bob.Final(m); m.Status() != 200 && m.Status() != 202 {
		t.Error(Line(m))
	}
	s.level("alice", "bob", "close")
	s.Eventually("bob may interrupt", func() bool {
		d := bob.MessageRequest("alice", "now")
		bob.Write(d.Bytes())
		got := alice.Hears("now")
		bob.Final(d)
		return got.Get(sip.HPriority) == ""
	})
	newCall(t, bob, alice)
}

func TestAppearOffline(t *testing.T) {
	t.Parallel()
	s := Start(t, hasty)
	bob := s.SignedIn("bob", transport.TCP)
	w := bob.Watch("alice")
	w.Sees(pidf.Offline)
	offline := string(w.doc)
	alice := s.SignedIn("alice", transport.TCP)
	w.Sees(pidf.Available)
	s.set("alice", pidf.Offline, "")
	w.Sees(pidf.Offline)
	if string(w.doc) != offline {
		t.Errorf("who appears offline is told from who is:\n%s\n%s", w.doc, offline)
	}
	caller, _ := newCall(t, alice, bob)
	alice.Write(alice.InDialog(caller, sip.BYE).Bytes())
	bob.Reply(bob.Expect(sip.BYE), 200)
	bob.Silent(sip.NOTIFY)
	s.set("alice", "", "")
	w.Sees(pidf.Available)
	s.level("alice", "bob", "blocked")
	w.Sees(pidf.Offline)
	if string(w.doc) != offline {
		t.Errorf("who is blocked sees\n%s\nand at first saw\n%s", w.doc, offline)
	}
	s.level("alice", "bob", "outside")
	w.Sees(pidf.Available)
	if d := documentOf(t, w); len(d.Tuples) != 1 || len(d.Devices) != 0 {
		t.Errorf("somebody outside is told of devices: %s", w.doc)
	}
	explain, err := s.API.Presence.ExplainPresence(t.Context(), connect.NewRequest(&v1.ExplainPresenceRequest{Owner: AOR("alice"), Watcher: AOR("bob")}))
	if err != nil || explain.Msg.Level != "outside" || string(explain.Msg.Document) != string(w.doc) {
		t.Errorf("what is explained is not what is seen: %v, %v\n%s", explain, err, w.doc)
	}
}

// A list of 50 contacts as one subscription, over UDP and TCP; all 50 sign in, and one is removed.
func TestPresenceOfList(t *testing.T) {
	t.Parallel()
	for _, kind := range []transport.Kind{transport.UDP, transport.TCP} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			s := Start(t, hasty)
			var people []string
			for i := range 50 {
				people = append(people, "friend"+string(rune('a'+i/26))+string(rune('a'+i%26)))
			}
			s.AddUsers(people...)
			s.has("bob", people...)
			bob := s.SignedIn("bob", kind)
			w := bob.Watch("sip:contacts@"+Domain, eventlist)
			for _, p := range people {
				w.ListSees(p, "offline")
			}
			for _, p := range people[:25] {
				s.SignedIn(p, transport.UDP)
			}
			for _, p := range people[:25] {
				w.ListSees(p, "available")
			}
			if len(w.list) != 50 {
				t.Errorf("%d in the list", len(w.list))
			}
			if _, err := s.API.Contacts.RemoveContact(t.Context(), connect.NewRequest(&v1.RemoveContactRequest{Owner: AOR("bob"), Contact: AOR(people[0])})); err != nil {
				t.Fatal(err)
			}
			w.ListSees(people[0], "-")
			s.has("bob", "carol")
			w.ListSees("carol", "offline")
			remove(t, s, people[1])
			w.ListSees(people[1], "-")
		})
	}
}

// One change is told to 200 watchers, each of them once.
func TestManyWatchers(t *testing.T) {
	t.Parallel()
	const n = 200
	s := Start(t, hasty)
	carol := s.SignedIn("carol", transport.TCP)
	var watchers []*watcher
	for range n {
		w := carol.Watch("alice")
		w.Sees(pidf.Offline)
		watchers = append(watchers, w)
	}
	s.SignedIn("alice", transport.UDP)
	for _, w := range watchers {
		w.Sees(pidf.Available)
	}
	carol.Silent(sip.NOTIFY)
	rows, err := s.API.Presence.ListWatchers(t.Context(), connect.NewRequest(&v1.ListWatchersRequest{Owner: AOR("alice")}))
	if err != nil || len(rows.Msg.Watchers) != n {
		t.Errorf("%d watchers, %v", len(rows.Msg.Watchers), err)
	}
}

// After a restart subscriptions go on, and what was known is known: the watcher on UDP hears of the next change, the one on TCP
// once it is back.
func TestPresenceSurvivesRestart(t *testing.T) {
	t.Parallel()
	s := Start(t, hasty, SamePorts(t))
	s.has("carol", "alice")
	alice := s.SignedIn("alice", transport.UDP)
	bob, carol := s.UA("bob", transport.UDP), s.UA("carol", transport.TCP).Instance("carol")
	bob.Register()
	carol.Register()
	one := bob.Watch("alice")
	two := bob.Watch("carol") // who is on TCP: the restart closes that connection
	two.Sees(pidf.Available)
	list := carol.Watch("sip:contacts@"+Domain, eventlist)
	ok := alice.Publish("", 600, activity("alice", "busy"))
	one.Sees(pidf.Busy)
	list.ListSees("alice", "busy")
	s.Restart()
	two.Next()
	if got := availability(t, two.doc); got != "available" {
		t.Errorf("carol is %s after a restart", got)
	}
	if m := alice.Publish(ok.Get(sip.HSIPETag), 600, activity("alice", "meeting")); m.Status() != 200 {
		t.Fatalf("PUBLISH after the restart: %s", Line(m))
	}
	one.Sees(pidf.InMeeting)
	if m := one.Refresh(600); m.Status() != 200 {
		t.Errorf("SUBSCRIBE after the restart: %s", Line(m))
	}
	again := s.UA("carol", transport.TCP).Instance("carol")
	again.Contact = carol.Contact
	again.Register()
	list.UA = again
	list.seq = 0
	for list.list[AOR("alice")] != "in-meeting" {
		m := list.Wait("a NOTIFY on the new connection", func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.NOTIFY })
		list.take(m)
		again.Reply(m, 200)
	}
}

// Watcher information: the owner alone sees who watches.
func TestWatcherInformation(t *testing.T) {
	t.Parallel()
	s := Start(t, hasty)
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
	info := func(u *UA, to string) *sip.Message {
		d := u.Request(sip.SUBSCRIBE, to).Add(sip.HContact, u.Contact).Add(sip.HEvent, "presence.winfo").Add(sip.HExpires, "600")
		return u.Do(d)
	}
	if m := info(bob, "alice"); m.Status() != 403 {
		t.Errorf("somebody else's: %s", Line(m))
	}
	if m := info(alice, "alice"); m.Status() != 200 {
		t.Fatal(Line(m))
	}
	next := func() *watcherinfo.Document {
		m := alice.Expect(sip.NOTIFY)
		alice.Reply(m, 200)
		d, err := watcherinfo.Parse(m.Body())
		if err != nil || len(d.Lists) != 1 {
			t.Fatalf("%v\n%s", err, m.Body())
		}
		return d
	}
	if d := next(); d.Partial || d.Version != 0 || len(d.Lists[0].Watchers) != 0 {
		t.Errorf("at first: %+v", d)
	}
	bob.Watch("alice")
	if d := next(); !d.Partial || d.Version != 1 || len(d.Lists[0].Watchers) != 1 || d.Lists[0].Watchers[0].URI != "sip:"+AOR("bob") || d.Lists[0].Watchers[0].Status != watcherinfo.Active {
		t.Errorf("bob came: %+v", d)
	}
}

// What a device publishes is that device's, and each device is a tuple of its own.
func TestPresenceOfDevices(t *testing.T) {
	t.Parallel()
	s := Start(t, hasty)
	one, two := s.UA("alice", transport.TCP).Instance("one"), s.UA("alice2", transport.UDP).Instance("two")
	one.Register()
	two.Register()
	bob := s.SignedIn("bob", transport.TCP)
	w := bob.Watch("alice")
	for len(documentOf(t, w).Tuples) != 3 { // the address, and two devices
		w.Next()
	}
	if m := two.Publish("", 600, activity("alice", "meeting")); m.Status() != 200 {
		t.Fatal(Line(m))
	}
	w.Sees(pidf.InMeeting)
	resp, err := s.API.Presence.GetPresence(t.Context(), connect.NewRequest(&v1.GetPresenceRequest{Owner: AOR("alice")}))
	if err != nil || len(resp.Msg.Devices) != 2 || len(resp.Msg.Publications) != 1 {
		t.Fatal(resp, err)
	}
	_, instance, _ := strings.Cut(two.Params, "<")
	if got := resp.Msg.Publications[0].Device; got != strings.TrimSuffix(instance, `>"`) {
		t.Errorf("published by %q, not %s", got, instance)
	}
	one.Close()
	two.SignOut()
	w.Sees(pidf.Offline)
}

func documentOf(t *testing.T, w *watcher) *pidf.Presence {
	t.Helper()
	p, err := pidf.Parse(w.doc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
