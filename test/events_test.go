package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/transport"
)

// stream is an event stream of a session.
type stream struct {
	t      testing.TB
	events chan *v1.Event
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // after ended
}

// listen opens an event stream.
func listen(t testing.TB, c *parley.Client, req *v1.StreamRequest) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	x := &stream{t: t, events: make(chan *v1.Event, 100), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(x.ended)
		s, err := c.Events.Stream(ctx, connect.NewRequest(req))
		if err != nil {
			x.err = err
			return
		}
		defer s.Close()
		for s.Receive() {
			select {
			case x.events <- s.Msg():
			case <-ctx.Done():
				return
			}
		}
		x.err = s.Err()
	}()
	t.Cleanup(x.stop)
	return x
}

func (x *stream) stop() {
	x.cancel()
	<-x.ended
}

// next returns the next event that fits.
func (x *stream) next(what string, fits func(*v1.Event) bool) *v1.Event {
	x.t.Helper()
	late := time.NewTimer(Patience)
	defer late.Stop()
	for {
		select {
		case e := <-x.events:
			if fits(e) {
				return e
			}
		case <-x.ended:
			if len(x.events) == 0 {
				x.t.Fatalf("the stream ended before %s: %v", what, x.err)
			}
		case <-late.C:
			x.t.Fatalf("no event: %s", what)
		}
	}
}

func isReady(e *v1.Event) bool { return e.GetReady() != nil }

// say sends a text and returns its message. A machine that is busy may refuse it for the moment.
func say(t testing.TB, c *parley.Client, to, text string) *v1.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	m, err := c.Say(ctx, AOR(to), text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What is said arrives on all pages of both sides and on SIP devices of the other, what becomes of it is told, and it is in the
// lists at once.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, second, bob := s.signedInOver(t, "alice"), s.signedInOver(t, "alice"), s.signedInOver(t, "bob")
	a, a2, b := listen(t, alice, &v1.StreamRequest{}), listen(t, second, &v1.StreamRequest{}), listen(t, bob, &v1.StreamRequest{})
	for _, x := range []*stream{a, a2, b} {
		x.next("ready", isReady)
	}
	m := say(t, alice, "bob", "hello")
	for i, x := range []*stream{a, a2, b} {
		e := x.next("the message", func(e *v1.Event) bool { return e.GetMessage() != nil })
		got, with := e.GetMessage(), AOR("bob")
		if i == 2 {
			with = AOR("alice")
		}
		if got.Id != m.Id || got.Text != "hello" || got.Conversation != with || e.Position != m.Position || e.Position != got.Position {
			t.Errorf("stream %d: %v", i, e)
		}
	}
	for { // on a machine that is busy the index may be behind for longer than the answer waits for it, as its position says
		list, err := alice.Conversations.ListConversations(t.Context(), connect.NewRequest(&v1.ListConversationsRequest{}))
		if err == nil && list.Msg.Position < m.Position {
			continue
		}
		if err != nil || len(list.Msg.Conversations) != 1 || list.Msg.Conversations[0].Last.GetId() != m.Id {
			t.Errorf("the list has %v, %v", list, err)
		}
		break
	}
	if _, err := bob.Events.Acknowledge(t.Context(), connect.NewRequest(&v1.AcknowledgeRequest{Position: m.Position})); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*stream{a, a2} {
		d := x.next("the delivery", func(e *v1.Event) bool { return e.GetDelivery() != nil }).GetDelivery()
		if d.Id != m.Id || d.What != "delivered" || d.MessagePosition != m.Position || !strings.HasPrefix(d.Device, "web:") {
			t.Errorf("got %v", d)
		}
	}
	if _, err := bob.Messages.MarkRead(t.Context(), connect.NewRequest(&v1.MarkReadRequest{Conversation: AOR("alice"), Position: m.Position})); err != nil {
		t.Fatal(err)
	}
	r := a.next("the receipt", func(e *v1.Event) bool { return e.GetRead() != nil }).GetRead()
	if r.By != AOR("bob") || r.Conversation != AOR("bob") || r.Read != m.Position {
		t.Errorf("got %v", r)
	}
	if _, err := alice.Messages.Edit(t.Context(), connect.NewRequest(&v1.EditRequest{Id: m.Id, Text: "hello, Bob"})); err != nil {
		t.Fatal(err)
	}
	e := b.next("the edit", func(e *v1.Event) bool { return e.GetEdited() != nil }).GetEdited()
	if e.Id != m.Id || e.Text != "hello, Bob" || e.Conversation != AOR("alice") {
		t.Errorf("got %v", e)
	}
	one, err := alice.Conversations.GetMessage(t.Context(), connect.NewRequest(&v1.GetMessageRequest{Id: m.Id}))
	if err != nil {
		t.Fatal(err)
	}
	var fates []string
	for _, f := range one.Msg.Fates {
		fates = append(fates, f.What)
	}
	if !slices.Equal(fates, []string{"stored", "delivered", "read"}) || len(one.Msg.Versions) != 2 || one.Msg.Message.Text != "hello, Bob" {
		t.Errorf("got %v, versions %v", fates, one.Msg.Versions)
	}
	if _, err := bob.Messages.SetTyping(t.Context(), connect.NewRequest(&v1.SetTypingRequest{Conversation: AOR("alice"), Active: true})); err != nil {
		t.Fatal(err)
	}
	if x := a.next("typing", func(e *v1.Event) bool { return e.GetTyping() != nil }).GetTyping(); x.Conversation != AOR("bob") || !x.Active {
		t.Errorf("got %v", x)
	}
	if _, err := alice.Conversations.SetDraft(t.Context(), connect.NewRequest(&v1.SetDraftRequest{Conversation: AOR("bob"), Text: "what I nearly said"})); err != nil {
		t.Fatal(err)
	}
	if d := a2.next("the draft", func(e *v1.Event) bool { return e.GetDraft() != nil }).GetDraft(); d.Text != "what I nearly said" || d.Conversation != AOR("bob") {
		t.Errorf("got %v", d)
	}
	// A SIP client is a device like the others.
	phone := s.SignedIn("carol", transport.TCP)
	phone.Say("alice", "from a phone")
	if x := a2.next("what the phone said", func(e *v1.Event) bool { return e.GetMessage() != nil }).GetMessage(); x.Text != "from a phone" || x.Conversation != AOR("carol") {
		t.Errorf("got %v", x)
	}
}

// Nobody sees what others said, nor whether it is there.
func TestForeignIDs(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, carol := s.signedInOver(t, "alice"), s.signedInOver(t, "carol")
	m := say(t, alice, "bob", "only for Bob")
	var texts []string
	for _, id := range []string{m.Id, "01900000-0000-7000-8000-000000000001", "x", ""} {
		_, err := carol.Conversations.GetMessage(t.Context(), connect.NewRequest(&v1.GetMessageRequest{Id: id}))
		if connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%q: %v", id, err)
		}
		texts = append(texts, err.Error())
	}
	if len(slices.Compact(texts)) != 1 {
		t.Errorf("answers differ: %q", texts)
	}
	list, err := carol.Conversations.ListConversations(t.Context(), connect.NewRequest(&v1.ListConversationsRequest{}))
	if err != nil || len(list.Msg.Conversations) != 0 {
		t.Errorf("carol has %v, %v", list, err)
	}
	found, err := carol.Conversations.SearchMessages(t.Context(), connect.NewRequest(&v1.SearchMessagesRequest{Words: "bob"}))
	if err != nil || len(found.Msg.Messages) != 0 {
		t.Errorf("carol finds %v, %v", found, err)
	}
	x := listen(t, carol, &v1.StreamRequest{Position: 1})
	x.next("ready", isReady)
	say(t, alice, "bob", "this neither")
	own := say(t, alice, "carol", "this")
	e := x.next("a message", func(e *v1.Event) bool { return e.GetMessage() != nil })
	if e.GetMessage().Id != own.Id {
		t.Errorf("carol hears %v", e)
	}
}

// Programs that listen through restarts of the server and broken connections hear everything once.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	s := Start(t, SamePorts(t))
	alice, bob := s.signedInOver(t, "alice"), s.signedInOver(t, "bob")
	begin := say(t, alice, "alice", "begin").Position

	ctx, cancel := context.WithTimeout(t.Context(), 2*Patience)
	defer cancel()
	var mu sync.Mutex
	heard := map[string][]string{}
	done := make(chan string, 2)
	var listeners sync.WaitGroup
	for name, c := range map[string]*parley.Client{"alice": alice, "bob": bob} {
		listeners.Go(func() {
			last := begin
			for ctx.Err() == nil { // each stream breaks off after some events
				n := 0
				once, stop := context.WithCancel(ctx)
				err := c.Listen(once, parley.Handlers{
					Message: func(m *v1.Message) {
						mu.Lock()
						heard[name] = append(heard[name], m.Text)
						mu.Unlock()
						if m.Text == "end" {
							done <- name
						}
						if n++; n == 7 {
							stop()
						}
					},
					Position: func(p int64) { last = p },
				}, parley.From(last))
				stop()
				if errors.Is(err, parley.ErrSessionEnded) { // everything else is a break like the others
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	var want []string
	for i := range 60 {
		if i%20 == 10 {
			s.Restart()
		}
		text := fmt.Sprint("message ", i)
		// A call that fails is made again under the same id.
		req := &v1.SendRequest{Conversation: AOR("bob"), Text: text, RequestId: text}
		s.Eventually("sending", func() bool {
			_, err := alice.Messages.Send(ctx, connect.NewRequest(req))
			return err == nil
		})
		want = append(want, text)
	}
	say(t, alice, "bob", "end")
	want = append(want, "end")
	for range 2 {
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatal("not everybody has heard the end")
		}
	}
	cancel()
	listeners.Wait()
	for name, got := range heard {
		if !slices.Equal(got, want) {
			t.Errorf("%s heard %d: %q", name, len(got), got)
		}
	}
}

// Whoever has only a page open is available, with what the page says of being used; the page's end is seen by others.
func TestPageIsADevice(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice, bob := s.signedInOver(t, "alice"), s.signedInOver(t, "bob")
	watch := listen(t, bob, &v1.StreamRequest{Follow: []string{AOR("alice")}})
	seen := func(state string) *v1.SeenPresence {
		t.Helper()
		return watch.next(state, func(e *v1.Event) bool { return e.GetPresence().GetAvailability() == state }).GetPresence()
	}
	seen("offline")
	page := listen(t, alice, &v1.StreamRequest{Presence: true})
	page.next("own presence", func(e *v1.Event) bool { return e.GetOwnPresence().GetAvailability() == "available" })
	if p := seen("available"); len(p.Devices) != 1 || p.Devices[0].Class != "desktop" {
		t.Errorf("bob sees %v", p)
	}
	idle := time.Now().Add(-time.Hour)
	if err := setIdle(t, alice, idle); err != nil {
		t.Fatal(err)
	}
	if p := seen("away"); p.IdleSince == nil {
		t.Errorf("bob sees %v", p)
	}
	if err := setIdle(t, alice, time.Time{}); err != nil {
		t.Fatal(err)
	}
	seen("available")
	if _, err := alice.Sessions.SignOut(t.Context(), connect.NewRequest(&v1.SignOutRequest{})); err != nil {
		t.Fatal(err)
	}
	page.next("the end", func(e *v1.Event) bool { return e.GetSessionEnded() != nil })
	seen("offline")
}

func setIdle(t testing.TB, c *parley.Client, since time.Time) error {
	t.Helper()
	req := &v1.SetActivityRequest{}
	if !since.IsZero() {
		req.IdleSince = timestamppb.New(since)
	}
	_, err := c.Sessions.SetActivity(t.Context(), connect.NewRequest(req))
	return err
}
