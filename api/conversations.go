package api

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/service/conversation"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/store"
)

// DeviceLabel is what a device of somebody is called for a viewer: "Linphone 5.2"; "" when that is not known or not to be told.
type DeviceLabel func(ctx context.Context, viewer, owner, device string) string

// conversations reads what was said.
type conversations struct {
	service *conversation.Service
	label   DeviceLabel
	hidden  Hidden
	sight   Sight
}

func (s *conversations) ListConversations(ctx context.Context, req *connect.Request[v1.ListConversationsRequest]) (*connect.Response[v1.ListConversationsResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.service.List(ctx, by.AOR, req.Msg.Before, int(req.Msg.Limit))
	if err != nil {
		return nil, err
	}
	resp := &v1.ListConversationsResponse{More: list.More, Position: list.Position, Next: list.Next}
	for i := range list.Conversations {
		resp.Conversations = append(resp.Conversations, s.conversationOf(ctx, by.AOR, &list.Conversations[i]))
	}
	return connect.NewResponse(resp), nil
}

func (s *conversations) GetConversation(ctx context.Context, req *connect.Request[v1.GetConversationRequest]) (*connect.Response[v1.GetConversationResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.service.Get(ctx, by.AOR, req.Msg.Id)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.GetConversationResponse{Conversation: s.conversationOf(ctx, by.AOR, &c)}), nil
}

func (s *conversations) ListMessages(ctx context.Context, req *connect.Request[v1.ListMessagesRequest]) (*connect.Response[v1.ListMessagesResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	m := req.Msg
	p, err := s.service.Messages(ctx, by.AOR, conversation.PageQuery{Peer: m.Conversation, Before: m.Before, After: m.After, Around: m.Around,
		At: moment(m.At), Limit: int(m.Limit)})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.ListMessagesResponse{Messages: s.messagesOf(ctx, by.AOR, p.Messages), MoreBefore: p.MoreBefore, MoreAfter: p.MoreAfter,
		Position: p.Position}), nil
}

func (s *conversations) GetMessage(ctx context.Context, req *connect.Request[v1.GetMessageRequest]) (*connect.Response[v1.GetMessageResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	d, err := s.service.Message(ctx, by.AOR, req.Msg.Id)
	if err != nil {
		return nil, err
	}
	devices := s.sight.of(by.AOR)
	resp := &v1.GetMessageResponse{Message: s.messagesOf(ctx, by.AOR, []conversation.Said{d.Said})[0], Fates: []*v1.Fate{{What: "stored", At: timestamppb.New(d.At)}}}
	if s.hidden.from(ctx, d.To, by.AOR) {
		d.Fates = nil
	}
	for i := range d.Fates {
		f := &d.Fates[i]
		out := &v1.Fate{What: f.MetaValue(store.MetaOutcome), At: timestamppb.New(f.At), Device: f.Device, Reason: f.MetaValue(store.MetaReason)}
		if f.Kind == store.KindReceipt {
			switch out.What {
			case store.OutcomeDisplayed:
				out.What = "read"
			case store.OutcomeDelivered:
			default:
				continue
			}
		}
		if out.Device = devices.of(ctx, d.To, f.Device); out.Device != "" {
			out.Label = s.label(ctx, by.AOR, d.To, f.Device)
		}
		resp.Fates = append(resp.Fates, out)
	}
	for i := range d.Versions {
		c := content.Read(&d.Versions[i])
		resp.Versions = append(resp.Versions, &v1.Version{At: timestamppb.New(d.Versions[i].At), Text: c.Text, Html: c.HTML})
	}
	return connect.NewResponse(resp), nil
}

func (s *conversations) SearchMessages(ctx context.Context, req *connect.Request[v1.SearchMessagesRequest]) (*connect.Response[v1.SearchMessagesResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	m := req.Msg
	found, err := s.service.Search(ctx, by.AOR, conversation.SearchQuery{Words: m.Words, Peer: m.Conversation, From: m.From, Since: moment(m.Since),
		Until: moment(m.Until), Before: m.Before, Limit: int(m.Limit)})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SearchMessagesResponse{Messages: s.messagesOf(ctx, by.AOR, found.Messages), Next: found.Next}), nil
}

func (s *conversations) SetDraft(ctx context.Context, req *connect.Request[v1.SetDraftRequest]) (*connect.Response[v1.SetDraftResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	err = s.service.SetDraft(ctx, by.AOR, by.Device, req.Msg.Conversation, req.Msg.Text)
	return connect.NewResponse(&v1.SetDraftResponse{}), err
}

// moment is a time that may be absent.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func (s *conversations) messagesOf(ctx context.Context, viewer string, list []conversation.Said) []*v1.Message {
	devices, out := s.sight.of(viewer), make([]*v1.Message, len(list))
	for i := range list {
		out[i] = messageOf(viewer, &list[i].Record, list[i].About)
		out[i].Device = devices.of(ctx, list[i].From, out[i].Device)
	}
	return out
}

func (s *conversations) conversationOf(ctx context.Context, viewer string, c *conversation.Conversation) *v1.Conversation {
	out := &v1.Conversation{Id: c.Peer, Name: c.Name, Unread: int32(c.Unread), Read: c.Read, PeerRead: c.PeerRead, PeerDelivered: c.PeerDelivered, Known: c.Known}
	if s.hidden.from(ctx, c.Peer, viewer) {
		out.PeerRead, out.PeerDelivered = 0, 0
	}
	if c.Last != nil {
		out.Last = s.messagesOf(ctx, viewer, []conversation.Said{*c.Last})[0]
	}
	if c.Draft != nil {
		out.Draft = draftOf(c.Draft)
	}
	return out
}

func draftOf(d *store.Draft) *v1.Draft {
	return &v1.Draft{Conversation: d.Peer, Text: d.Text, Changed: stamp(d.Changed)}
}
