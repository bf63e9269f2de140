package api

import (
	"net/url"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
)

// messageOf is a message or the start of a call as viewer, who is one of the two sides, sees it now: with what was done to it.
// about are records in the order of the log: edits, retractions and reactions to r, the end of the call r, and retractions of what r
// answers. Those of other messages, and what their senders had no right to do, change nothing.
func messageOf(viewer string, r *store.Record, about []store.Record) *v1.Message {
	c := content.Read(r)
	m := &v1.Message{
		Id: r.ID.String(), Position: r.Seq, At: timestamppb.New(r.At), Conversation: otherSide(viewer, r), From: r.From, Device: r.Device,
		Text: c.Text, Html: c.HTML, File: sentFile(c.File), Priority: c.Priority, Subject: c.Subject,
	}
	if r.From == viewer {
		m.RequestId = r.MetaValue(store.MetaRequestID)
	}
	if !c.ReplyTo.IsZero() {
		m.ReplyTo = &v1.Quote{Id: c.ReplyTo.String(), From: c.QuoteFrom, Text: c.Quote}
	}
	if c.Call {
		m.Call = &v1.Call{}
	}
	for i := range about {
		a := &about[i]
		switch {
		case a.Kind == store.KindRetract && !c.ReplyTo.IsZero() && a.Ref == c.ReplyTo && a.From == c.QuoteFrom:
			m.ReplyTo.Text = ""
		case a.Ref != r.ID:
		case a.Kind == store.KindCallEnd && c.Call:
			m.Call = callOf(a)
		case r.Kind != store.KindMessage:
		case a.Kind == store.KindRetract && a.From == r.From:
			return &v1.Message{Id: m.Id, Position: m.Position, At: m.At, Conversation: m.Conversation, From: m.From, Device: m.Device, RequestId: m.RequestId, Retracted: true}
		case a.Kind == store.KindEdit && a.From == r.From:
			said := content.Read(a)
			m.Text, m.Html, m.Edited = said.Text, said.HTML, timestamppb.New(a.At)
		case a.Kind == store.KindReaction && (a.From == r.From || a.From == r.To):
			m.Reactions = react(m.Reactions, a)
		}
	}
	return m
}

// otherSide is the conversation in which viewer sees r.
func otherSide(viewer string, r *store.Record) string {
	if r.From == viewer {
		return r.To
	}
	return r.From
}

// react adds a reaction, or takes it away.
func react(list []*v1.Reaction, a *store.Record) []*v1.Reaction {
	emoji := content.Read(a).Text
	i := slices.IndexFunc(list, func(x *v1.Reaction) bool { return x.Emoji == emoji })
	if a.MetaValue(store.MetaRemoved) != "" {
		if i < 0 {
			return list
		}
		list[i].From = slices.DeleteFunc(list[i].From, func(aor string) bool { return aor == a.From })
		if len(list[i].From) == 0 {
			list = slices.Delete(list, i, i+1)
		}
		return list
	}
	if i < 0 {
		return append(list, &v1.Reaction{Emoji: emoji, From: []string{a.From}})
	}
	if !slices.Contains(list[i].From, a.From) {
		list[i].From = append(list[i].From, a.From)
	}
	return list
}

// callOf is how a call ended.
func callOf(end *store.Record) *v1.Call {
	ms, _ := strconv.ParseInt(end.MetaValue(store.MetaDuration), 10, 64) // 0 for one that was not answered
	return &v1.Call{Outcome: end.MetaValue(store.MetaOutcome), DurationMs: ms}
}

// sentFile is a file in a message: one of this server has paths here, one of another has the address that its sender gave.
func sentFile(f *content.File) *v1.File {
	if f == nil {
		return nil
	}
	out := &v1.File{Id: f.ID, Name: f.Name, Size: f.Size, Type: f.Type, Url: f.URL, Thumbnail: f.Thumbnail,
		Width: int32(f.Width), Height: int32(f.Height), Sha256: f.SHA256} //nolint:gosec // no picture has 2^31 pixels on a side
	if f.ID == "" {
		out.Thumbnail = "" // nothing is loaded from elsewhere before somebody asks for it
		return out
	}
	name := f.Name
	if name == "" || name == "thumbnail" {
		name = "file"
	}
	out.Url = "/files/" + f.ID + "/" + url.PathEscape(name)
	if f.Small {
		out.Thumbnail = "/files/" + f.ID + "/thumbnail"
	}
	return out
}
