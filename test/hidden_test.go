package test

import (
	"slices"
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
}

func hasFate(m *v1.GetMessageResponse, what string) bool {
	return slices.ContainsFunc(m.Fates, func(f *v1.Fate) bool { return f.What == what })
}
