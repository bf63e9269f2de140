package api

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
)

// A message as it stands, with all that was done to it, by whoever had the right to.
func TestMessageOf(t *testing.T) {
	const alice, bob, eve = "alice@example.com", "bob@example.com", "eve@example.com"
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	asked, own, start := id.New(), id.New(), id.New()
	msg := &store.Record{Seq: 7, ID: own, At: at, Kind: store.KindMessage, From: alice, To: bob, Device: "web:1", ContentType: content.HTMLType, Body: []byte("<em>a</em>"),
		Meta: map[string]string{store.MetaRequestID: "q", store.MetaReplyTo: asked.String(), store.MetaQuoteFrom: bob, store.MetaQuote: "why?", store.MetaPriority: "urgent", store.MetaSubject: "s"}}
	about := func(seq int64, kind, from, body string, meta ...string) store.Record {
		r := store.Record{Seq: seq, At: at.Add(time.Duration(seq) * time.Second), Kind: kind, From: from, Ref: own, ContentType: content.PlainType, Body: []byte(body), Meta: map[string]string{}}
		for i := 0; i < len(meta); i += 2 {
			r.Meta[meta[i]] = meta[i+1]
		}
		return r
	}
	plain := func() *v1.Message {
		return &v1.Message{Id: own.String(), Position: 7, At: timestamppb.New(at), Conversation: bob, From: alice, Device: "web:1", Text: "a", Html: "<em>a</em>",
			ReplyTo: &v1.Quote{Id: asked.String(), From: bob, Text: "why?"}, RequestId: "q", Priority: "urgent", Subject: "s"}
	}
	with := func(change func(*v1.Message)) *v1.Message {
		m := plain()
		change(m)
		return m
	}
	other := about(8, store.KindEdit, alice, "of another")
	other.Ref = id.New()
	gone := about(9, store.KindRetract, bob, "")
	gone.Ref = asked
	for name, c := range map[string]struct {
		viewer string
		about  []store.Record
		want   *v1.Message
	}{
		"own":               {alice, nil, plain()},
		"of the other side": {bob, nil, with(func(m *v1.Message) { m.Conversation, m.RequestId = alice, "" })},
		"edited": {alice, []store.Record{about(8, store.KindEdit, alice, "b"), about(9, store.KindEdit, alice, "c <d>"), other, about(10, store.KindEdit, bob, "of who may not")},
			with(func(m *v1.Message) { m.Text, m.Html, m.Edited = "c <d>", "", timestamppb.New(at.Add(9*time.Second)) })},
		"taken back": {alice, []store.Record{about(8, store.KindReaction, bob, "👍"), about(9, store.KindRetract, alice, ""), about(10, store.KindEdit, alice, "b")},
			&v1.Message{Id: own.String(), Position: 7, At: timestamppb.New(at), Conversation: bob, From: alice, Device: "web:1", RequestId: "q", Retracted: true}},
		"not taken back":                 {alice, []store.Record{about(9, store.KindRetract, bob, ""), about(9, store.KindRetract, eve, "")}, plain()},
		"what it answers was taken back": {alice, []store.Record{gone}, with(func(m *v1.Message) { m.ReplyTo.Text = "" })},
		"reactions": {alice, []store.Record{about(8, store.KindReaction, bob, "👍"), about(9, store.KindReaction, alice, "🎉"), about(10, store.KindReaction, alice, "👍"), about(11, store.KindReaction, bob, "👍"),
			about(12, store.KindReaction, eve, "👎"), about(13, store.KindReaction, alice, "🎉", store.MetaRemoved, "1"), about(14, store.KindReaction, bob, "🎉", store.MetaRemoved, "1")},
			with(func(m *v1.Message) { m.Reactions = []*v1.Reaction{{Emoji: "👍", From: []string{bob, alice}}} })},
	} {
		if got := messageOf(c.viewer, msg, c.about); !proto.Equal(got, c.want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, c.want)
		}
	}

	call := &store.Record{Seq: 3, ID: start, At: at, Kind: store.KindCallStart, From: bob, To: alice}
	end := store.Record{Kind: store.KindCallEnd, Ref: start, Meta: map[string]string{store.MetaOutcome: "answered", store.MetaDuration: "61000"}}
	if m := messageOf(alice, call, nil); m.Call == nil || m.Call.Outcome != "" || m.Conversation != bob {
		t.Errorf("a call: %v", m)
	}
	if m := messageOf(alice, call, []store.Record{end}); m.Call.Outcome != "answered" || m.Call.DurationMs != 61000 {
		t.Errorf("its end: %v", m)
	}
}

// A file of ours has paths on this server, whatever it is called; one of somebody else has its address, and nothing of it is loaded by itself.
func TestSentFile(t *testing.T) {
	ours := &content.File{ID: "f1", Name: `a "b"/<c>?.png`, Type: "image/png", Size: 5, URL: "https://elsewhere.example/", Small: true, Width: 3, Height: 4, SHA256: "aa"}
	want := &v1.File{Id: "f1", Name: ours.Name, Type: "image/png", Size: 5, Url: "/files/f1/a%20%22b%22%2F%3Cc%3E%3F.png", Thumbnail: "/files/f1/thumbnail", Width: 3, Height: 4, Sha256: "aa"}
	if got := sentFile(ours); !proto.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"", "thumbnail"} {
		if got := sentFile(&content.File{ID: "f1", Name: name}); got.Url != "/files/f1/file" || got.Thumbnail != "" {
			t.Errorf("%q: %v", name, got)
		}
	}
	if got := sentFile(&content.File{Name: "x", URL: "https://elsewhere.example/x", Thumbnail: "https://elsewhere.example/t"}); got.Id != "" || got.Url != "https://elsewhere.example/x" || got.Thumbnail != "" {
		t.Errorf("%v", got)
	}
}

// What is hostile in a text comes out as text.
func TestHostileMessage(t *testing.T) {
	for _, body := range []string{`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `<em onclick=alert(1)>x</em>`, `<svg onload=alert(1)>`} {
		for _, media := range []string{"text/html", "text/plain", "multipart/mixed;boundary=b", "message/cpim"} {
			r := &store.Record{Kind: store.KindMessage, ContentType: media, Body: []byte(body)}
			if m := messageOf("a@x", r, nil); strings.ContainsAny(strings.NewReplacer("<em>", "", "</em>", "").Replace(m.Html), "<>") {
				t.Errorf("%s as %s: %v", body, media, m)
			}
		}
	}
}
