package test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/sip"
)

// sent says something to bob over the API. A machine that is busy may refuse it for the moment.
func sent(t *testing.T, c *parley.Client, req *v1.SendRequest) *v1.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	req.Conversation = AOR("bob")
	m, err := c.Send(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What is said on a page reaches a SIP client as a text that it can show, each kind of it, and what it says comes to the page.
func TestPageAndSIP(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, bob := s.signedInOver(t, "alice"), s.SignedIn("bob", transport.TCP)
	ctx := t.Context()

	first := sent(t, alice, &v1.SendRequest{Text: "hello\nbob", RequestId: "1", Priority: "urgent"})
	if first.Id == "" || first.Position == 0 || first.From != AOR("alice") || first.Conversation != AOR("bob") || first.RequestId != "1" || !strings.HasPrefix(first.Device, "web:") || first.Priority != "urgent" {
		t.Errorf("sent %+v", first)
	}
	m := bob.Hears("hello\nbob")
	if m.Get(sip.HPriority) != "urgent" || m.Get(sip.HPAssertedIdentity) != "<sip:"+AOR("alice")+">" {
		t.Errorf("\n%s", m.Bytes())
	}
	if again := sent(t, alice, &v1.SendRequest{Text: "hello\nbob", RequestId: "1"}); again.Id != first.Id || again.Position != first.Position {
		t.Errorf("sent once more: %+v", again)
	}
	const hostile = `<p onclick="alert(1)">one <b>two</b></p><script>alert(1)</script><img src=x onerror=alert(1)><a href="javascript:alert(1)">three</a>`
	rich := sent(t, alice, &v1.SendRequest{Html: hostile})
	if rich.Html != "<p>one <strong>two</strong></p>three" || rich.Text != "one two\n\nthree" {
		t.Errorf("sent %+v", rich)
	}
	bob.Hears("one two\n\nthree")
	if reply := sent(t, alice, &v1.SendRequest{Text: "well?", ReplyTo: first.Id}); reply.ReplyTo.GetId() != first.Id || reply.ReplyTo.GetText() != "hello bob" {
		t.Errorf("sent %+v", reply)
	}
	bob.Hears("> hello bob\n\nwell?")
	if _, err := alice.Messages.Edit(ctx, connect.NewRequest(&v1.EditRequest{Id: first.Id, Text: "hello Bob"})); err != nil {
		t.Fatal(err)
	}
	bob.Hears("Edited: hello Bob")
	for _, remove := range []bool{false, true} {
		if _, err := alice.Messages.React(ctx, connect.NewRequest(&v1.ReactRequest{Id: first.Id, Emoji: "👋", Remove: remove})); err != nil {
			t.Fatal(err)
		}
	}
	bob.Hears("👋 to “hello Bob”")
	if _, err := alice.Messages.Retract(ctx, connect.NewRequest(&v1.RetractRequest{Id: first.Id})); err != nil {
		t.Fatal(err)
	}
	bob.Hears("Deleted: “hello Bob”")

	if _, err := alice.Messages.SetTyping(ctx, connect.NewRequest(&v1.SetTypingRequest{Conversation: AOR("bob"), Active: true})); err != nil {
		t.Fatal(err)
	}
	typing := bob.Expect(sip.MESSAGE)
	if st, err := iscomposing.Parse(typing.Body()); err != nil || st.State != "active" {
		t.Errorf("%v\n%s", err, typing.Bytes())
	}
	bob.Reply(typing, 200)

	// The other way: nobody but the page is there, so the sender hears that it is stored.
	bob.Says("alice", "hello alice", 202)
	html := bob.Request(sip.MESSAGE, "alice").Body("text/html", []byte(hostile))
	if resp := bob.Do(html); resp.Status() != 202 {
		t.Fatalf("%s", Line(resp))
	}
	var list []*v1.Message
	s.Eventually("all five messages in the page's list", func() bool {
		resp, err := alice.Conversations.ListMessages(ctx, connect.NewRequest(&v1.ListMessagesRequest{Conversation: AOR("bob")}))
		if err != nil {
			t.Fatal(err)
		}
		if list = resp.Msg.Messages; len(list) > 5 {
			t.Fatalf("the page shows %d messages: %v", len(list), list)
		}
		return len(list) == 5
	})
	if x := list[0]; !x.Retracted || x.Text != "" || x.Html != "" || len(x.Reactions) > 0 {
		t.Errorf("what was taken back: %+v", x)
	}
	if x := list[2]; x.ReplyTo.GetId() != first.Id || x.ReplyTo.GetText() != "" {
		t.Errorf("an answer to what was taken back: %+v", x)
	}
	if x := list[3]; x.Text != "hello alice" || x.From != AOR("bob") {
		t.Errorf("of the SIP client: %+v", x)
	}
	if x := list[4]; x.Html != rich.Html || strings.Contains(x.Text, "alert") {
		t.Errorf("of the SIP client: %+v", x)
	}
}

// Receipts go both ways: what pages have taken and read, a SIP client hears that has asked, once each, and what liblinphone has read, the log knows.
func TestPageReceipts(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, bob := s.signedInOver(t, "alice"), s.UA("bob", transport.TCP)
	bob.Extra = func(d *sip.Draft) { d.Add(sip.HUserAgent, "LinphoneAndroid/5.2.5 (belle-sip/5.1)") }
	bob.Register()

	msg := sent(t, alice, &v1.SendRequest{Text: "read me"})
	m := bob.Expect(sip.MESSAGE)
	bob.Reply(m, 200)
	w, err := cpim.Parse(m.Body())
	if err != nil || m.Get(sip.HContentType) != cpim.ContentType || string(w.Content) != "read me" {
		t.Fatalf("%v\n%s", err, m.Bytes())
	}
	messageID, want := imdn.Request(w)
	if len(want) != 2 {
		t.Errorf("asks for %v", want)
	}
	receipt := imdn.Notification{MessageID: messageID, DateTime: w.DateTime(), Kind: imdn.Display, Status: "displayed", Recipient: "sip:" + AOR("bob")}
	if resp := bob.Do(bob.Request(sip.MESSAGE, "alice").Body(imdn.ContentType, receipt.Bytes())); resp.Status() != 202 {
		t.Fatalf("%s", Line(resp))
	}
	if r := s.Records(store.KindReceipt); len(r) != 1 || r[0].Ref != msg.Id || r[0].Meta[store.MetaSeq] == "" {
		t.Fatalf("receipts %+v", r)
	}

	asks := cpim.Message{
		Headers: []cpim.Header{
			{Name: "From", Value: "<sip:" + AOR("bob") + ">"}, {Name: "To", Value: "<sip:" + AOR("alice") + ">"},
			{NS: imdn.HeaderNS, Name: "Message-ID", Value: "mid-7"}, {NS: imdn.HeaderNS, Name: "Disposition-Notification", Value: "positive-delivery, display"},
		},
		ContentHeaders: []cpim.Header{{Name: "Content-Type", Value: "text/plain"}},
		Content:        []byte("did you see?"),
	}
	pages, streams := []*parley.Client{alice, s.signedInOver(t, "alice")}, []*stream{}
	for _, page := range pages {
		x := listen(t, page, &v1.StreamRequest{})
		x.next("ready", isReady)
		streams = append(streams, x)
	}
	if resp := bob.Do(bob.Request(sip.MESSAGE, "alice").Body(cpim.ContentType, asks.Bytes())); resp.Status() != 202 {
		t.Fatalf("%s", Line(resp))
	}
	// told returns what alice's side tells bob of his message.
	told := func() imdn.Notification {
		t.Helper()
		m := bob.Expect(sip.MESSAGE)
		bob.Reply(m, 200)
		w, err := cpim.Parse(m.Body())
		if err != nil || w.ContentType() != imdn.ContentType || m.Get(sip.HPAssertedIdentity) != "<sip:"+AOR("alice")+">" {
			t.Fatalf("%v\n%s", err, m.Bytes())
		}
		n, err := imdn.Parse(w.Content)
		if err != nil || n.MessageID != "mid-7" {
			t.Fatalf("%v\n%s", err, m.Bytes())
		}
		return n
	}
	var last *v1.Message
	for i, page := range pages {
		last = streams[i].next("what bob asked", func(e *v1.Event) bool { return e.GetMessage().GetText() == "did you see?" }).GetMessage()
		if _, err := page.Events.Acknowledge(t.Context(), connect.NewRequest(&v1.AcknowledgeRequest{Position: last.Position})); err != nil {
			t.Fatal(err)
		}
	}
	if n := told(); n.Kind != imdn.Delivery || n.Status != "delivered" {
		t.Errorf("%+v", n)
	}
	for range 2 { // the second time there is nothing new to tell
		if _, err := alice.Messages.MarkRead(t.Context(), connect.NewRequest(&v1.MarkReadRequest{Conversation: AOR("bob"), Position: last.Position})); err != nil {
			t.Fatal(err)
		}
	}
	if n := told(); n.Kind != imdn.Display || n.Status != "displayed" {
		t.Errorf("%+v", n)
	}
	bob.Silent(sip.MESSAGE)
	if r := s.Records(store.KindReceipt); len(r) != 3 {
		t.Errorf("receipts %+v", r)
	}
}

// Nobody changes what others said, or learns of it, and a sign that somebody writes does not come from who is blocked.
func TestPageRefusals(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, carol, bob := s.signedInOver(t, "alice"), s.signedInOver(t, "carol"), s.SignedIn("bob", transport.TCP)
	ctx := t.Context()
	msg := sent(t, alice, &v1.SendRequest{Text: "between us"})
	bob.Hears("between us")
	code := func(err error) connect.Code {
		if err == nil {
			return 0
		}
		return connect.CodeOf(err)
	}
	_, edit := carol.Messages.Edit(ctx, connect.NewRequest(&v1.EditRequest{Id: msg.Id, Text: "not mine"}))
	_, retract := carol.Messages.Retract(ctx, connect.NewRequest(&v1.RetractRequest{Id: msg.Id}))
	_, react := carol.Messages.React(ctx, connect.NewRequest(&v1.ReactRequest{Id: msg.Id, Emoji: "👋"}))
	_, reply := carol.Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: AOR("bob"), Text: "x", ReplyTo: msg.Id}))
	_, nobody := carol.Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: "nobody@" + Domain, Text: "x"}))
	_, broken := carol.Messages.Retract(ctx, connect.NewRequest(&v1.RetractRequest{Id: "1'; DROP TABLE log; --"}))
	_, long := carol.Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: AOR("bob"), Text: strings.Repeat("x", s.Config.Limits.Body+1)}))
	_, paste := carol.Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: AOR("bob"), Text: strings.Repeat("x", 20<<20)}))
	_, nosession := parley.Dial(s.web(), parley.WithHTTPClient(client)).Messages.Send(ctx, connect.NewRequest(&v1.SendRequest{Conversation: AOR("bob"), Text: "x"}))
	for name, c := range map[string]struct{ got, want connect.Code }{
		"edit": {code(edit), connect.CodeNotFound}, "retract": {code(retract), connect.CodeNotFound}, "react": {code(react), connect.CodeNotFound},
		"reply": {code(reply), connect.CodeInvalidArgument}, "nobody": {code(nobody), connect.CodeNotFound}, "broken id": {code(broken), connect.CodeInvalidArgument},
		"too long": {code(long), connect.CodeInvalidArgument}, "a huge paste": {code(paste), connect.CodeResourceExhausted}, "no session": {code(nosession), connect.CodeUnauthenticated},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	block := &v1.SetLevelRequest{Owner: AOR("bob"), Key: &v1.RelationKey{Kind: "person", Subject: AOR("carol")}, Level: "blocked"}
	if _, err := s.API.Contacts.SetLevel(ctx, connect.NewRequest(block)); err != nil {
		t.Fatal(err)
	}
	if _, err := carol.Messages.SetTyping(ctx, connect.NewRequest(&v1.SetTypingRequest{Conversation: AOR("bob"), Active: true})); err != nil {
		t.Fatal(err)
	}
	sipCarol := s.UA("carol", transport.TCP)
	notice := sipCarol.Request(sip.MESSAGE, "bob").Body(iscomposing.ContentType, iscomposing.State{State: "active"}.Bytes())
	if resp := sipCarol.Do(notice); resp.Status() != 200 {
		t.Fatalf("%s", Line(resp))
	}
	if _, err := alice.Messages.SetTyping(ctx, connect.NewRequest(&v1.SetTypingRequest{Conversation: AOR("bob"), Active: true})); err != nil {
		t.Fatal(err)
	}
	m := bob.Expect(sip.MESSAGE)
	if from, err := m.From(); err != nil || from.URI.AOR() != AOR("alice") {
		t.Errorf("who writes: %v\n%s", err, m.Bytes())
	}
	bob.Reply(m, 200)
	bob.Silent(sip.MESSAGE)
	if n := len(s.RecordsOf(AOR("carol"), store.KindMessage, store.KindEdit, store.KindRetract, store.KindReaction)); n != 0 {
		t.Errorf("%d records of carol", n)
	}
}

// A client that nobody knows, and that sends receipts all the same, names messages by their Call-ID; from then on it gets wrappers.
func TestPageLearns(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, bob := s.signedInOver(t, "alice"), s.SignedIn("bob", transport.TCP)
	msg := sent(t, alice, &v1.SendRequest{Text: "plain"})
	m := bob.Hears("plain")
	receipt := imdn.Notification{MessageID: m.CallID(), Kind: imdn.Display, Status: "displayed"}
	if resp := bob.Do(bob.Request(sip.MESSAGE, "alice").Body(imdn.ContentType, receipt.Bytes())); resp.Status() != 202 {
		t.Fatalf("%s", Line(resp))
	}
	if r := s.Records(store.KindReceipt); len(r) != 1 || r[0].Ref != msg.Id || r[0].Meta[store.MetaSeq] == "" {
		t.Fatalf("receipts %+v", r)
	}
	sent(t, alice, &v1.SendRequest{Text: "wrapped"})
	m = bob.Expect(sip.MESSAGE)
	bob.Reply(m, 200)
	if w, err := cpim.Parse(m.Body()); err != nil || string(w.Content) != "wrapped" {
		t.Errorf("%v\n%s", err, m.Bytes())
	}
}
