package test

import (
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
)

// Who is blocked sees somebody offline, and does not learn from what becomes of messages that this is not so: neither on the event
// stream nor from what is asked.
func TestBlockedLearnsNothing(t *testing.T) {
	t.Parallel()
	s := Start(t)
	ctx := t.Context()
	alice, bob, carol := s.signedInOver(t, "alice"), s.signedInOver(t, "bob"), s.signedInOver(t, "carol")
	block := &v1.SetLevelRequest{Owner: AOR("bob"), Key: &v1.RelationKey{Kind: "person", Subject: AOR("alice")}, Level: "blocked"}
	if _, err := bob.Contacts.SetLevel(ctx, connect.NewRequest(block)); err != nil {
		t.Fatal(err)
	}
	page := listen(t, bob, &v1.StreamRequest{})
	page.next("ready", isReady)
	for _, x := range []struct {
		name   string
		learns bool
	}{{"alice", false}, {"carol", true}} {
		who := alice
		if x.learns {
			who = carol
		}
		watched := listen(t, who, &v1.StreamRequest{})
		watched.next("ready", isReady)
		m := say(t, who, "bob", "are you there?")
		page.next("the message", func(e *v1.Event) bool { return e.GetMessage().GetId() == m.Id })
		if _, err := bob.Events.Acknowledge(ctx, connect.NewRequest(&v1.AcknowledgeRequest{Position: m.Position})); err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Messages.MarkRead(ctx, connect.NewRequest(&v1.MarkReadRequest{Conversation: AOR(x.name), Position: m.Position})); err != nil {
			t.Fatal(err)
		}
		// Both are on record when bob sees them.
		Eventually(t, "bob sees what became of it", func() bool {
			got, err := bob.Conversations.GetMessage(ctx, connect.NewRequest(&v1.GetMessageRequest{Id: m.Id}))
			return err == nil && hasFate(got.Msg, "delivered") && hasFate(got.Msg, "read")
		})
		end := say(t, bob, x.name, "the end")
		var told []string
		watched.next("the end", func(e *v1.Event) bool {
			if e.GetDelivery() != nil {
				told = append(told, "delivered")
			}
			if e.GetRead() != nil {
				told = append(told, "read")
			}
			return e.GetMessage().GetId() == end.Id
		})
		if want := x.learns; slices.Contains(told, "delivered") != want || slices.Contains(told, "read") != want {
			t.Errorf("%s is told %v", x.name, told)
		}
		got, err := who.Conversations.GetMessage(ctx, connect.NewRequest(&v1.GetMessageRequest{Id: m.Id}))
		if err != nil || hasFate(got.Msg, "delivered") != x.learns || hasFate(got.Msg, "read") != x.learns || !hasFate(got.Msg, "stored") {
			t.Errorf("%s sees %v, %v", x.name, got, err)
		}
		talk, err := who.Conversations.GetConversation(ctx, connect.NewRequest(&v1.GetConversationRequest{Id: AOR("bob")}))
		if err != nil || (talk.Msg.Conversation.PeerRead >= m.Position) != x.learns || !x.learns && talk.Msg.Conversation.PeerDelivered != 0 {
			t.Errorf("%s sees %v, %v", x.name, talk, err)
		}
		again := listen(t, who, &v1.StreamRequest{Position: m.Position})
		again.next("ready", func(e *v1.Event) bool {
			if !x.learns && (e.GetDelivery() != nil || e.GetRead() != nil) {
				t.Errorf("%s is told later: %v", x.name, e)
			}
			return isReady(e)
		})
	}
	// Carol may know on which devices bob is, until he says that she may not: what became of her messages she is told all the same.
	for _, level := range []string{"colleague", "outside"} {
		set := &v1.SetLevelRequest{Owner: AOR("bob"), Key: &v1.RelationKey{Kind: "person", Subject: AOR("carol")}, Level: level}
		if _, err := bob.Contacts.SetLevel(ctx, connect.NewRequest(set)); err != nil {
			t.Fatal(err)
		}
		watched := listen(t, carol, &v1.StreamRequest{})
		watched.next("ready", isReady)
		m, said := say(t, carol, "bob", "one more"), say(t, bob, "carol", "and one")
		page.next("the message", func(e *v1.Event) bool { return e.GetMessage().GetId() == m.Id })
		if _, err := bob.Events.Acknowledge(ctx, connect.NewRequest(&v1.AcknowledgeRequest{Position: m.Position})); err != nil {
			t.Fatal(err)
		}
		sees := func(where, owner, device string) {
			t.Helper()
			if want := owner == AOR("carol") || level == "colleague"; strings.HasPrefix(device, "web:") != want || !want && device != "" {
				t.Errorf("%s: in %s carol sees %q of %s", level, where, device, owner)
			}
		}
		heard := watched.next("what bob says", func(e *v1.Event) bool { return e.GetMessage().GetId() == said.Id })
		sees("an event", AOR("bob"), heard.GetMessage().Device)
		fate := watched.next("the delivery", func(e *v1.Event) bool { return e.GetDelivery().GetId() == m.Id })
		sees("the event of a delivery", AOR("bob"), fate.GetDelivery().Device)
		var got *connect.Response[v1.GetMessageResponse]
		Eventually(t, "carol sees what became of it", func() bool {
			var err error
			got, err = carol.Conversations.GetMessage(ctx, connect.NewRequest(&v1.GetMessageRequest{Id: m.Id}))
			return err == nil && hasFate(got.Msg, "delivered")
		})
		sees("a message", AOR("carol"), got.Msg.Message.Device)
		for _, f := range got.Msg.Fates {
			if f.What != "stored" {
				sees("a fate", AOR("bob"), f.Device)
				if f.Device == "" && f.Label != "" {
					t.Errorf("carol sees the name %q of a device that is not for her to know", f.Label)
				}
			}
		}
		list, err := carol.Conversations.ListMessages(ctx, connect.NewRequest(&v1.ListMessagesRequest{Conversation: AOR("bob")}))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list.Msg.Messages {
			sees("a list", x.From, x.Device)
		}
		own, err := bob.Conversations.GetMessage(ctx, connect.NewRequest(&v1.GetMessageRequest{Id: m.Id}))
		if err != nil || !slices.ContainsFunc(own.Msg.Fates, func(f *v1.Fate) bool { return strings.HasPrefix(f.Device, "web:") }) {
			t.Errorf("bob sees %v of his own devices, %v", own, err)
		}
	}
}

func hasFate(m *v1.GetMessageResponse, what string) bool {
	return slices.ContainsFunc(m.Fates, func(f *v1.Fate) bool { return f.What == what })
}
