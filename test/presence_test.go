package test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/rlmi"
	"github.com/parley-im/parley/wire/sip"
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
