package api

import (
	"context"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/service/setting"
	"github.com/parley-im/parley/store"
)

// sayings says things in the caller's name.
type sayings struct {
	service  *message.Service
	talks    store.Talks
	settings *setting.Service
}

// anew is how old a message is that is sent once more, and not for the first time: something may have been done to it since.
const anew = 2 * time.Second

func (m *sayings) Send(ctx context.Context, req *connect.Request[v1.SendRequest]) (*connect.Response[v1.SendResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	x := req.Msg
	p := message.Post{
		From: by.AOR, Device: by.Device, To: x.Conversation, Display: by.Name, RequestID: x.RequestId, Priority: x.Priority, Text: x.Text, HTML: x.Html,
	}
	if x.ReplyTo != "" {
		if p.ReplyTo, err = messageID(x.ReplyTo); err != nil {
			return nil, err
		}
	}
	if x.File != "" {
		p.File, p.Caption, p.Text, p.HTML = &content.File{ID: x.File}, x.Text, "", ""
	}
	r, delivered, err := m.service.Post(ctx, p)
	if err != nil {
		return nil, err
	}
	var about []store.Record
	if time.Since(r.At) > anew {
		if about, err = m.talks.About(ctx, r.ID); err != nil {
			about = nil // it is recorded, and the caller has to know; what was done to it since comes with the events
		}
	}
	return connect.NewResponse(&v1.SendResponse{Message: messageOf(by.AOR, r, about), Delivered: delivered}), nil
}

func (m *sayings) Edit(ctx context.Context, req *connect.Request[v1.EditRequest]) (*connect.Response[v1.EditResponse], error) {
	c, err := changeOf(ctx, req.Msg.Id, req.Msg.RequestId)
	if err != nil {
		return nil, err
	}
	r, err := m.service.Edit(ctx, c, req.Msg.Text, req.Msg.Html)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.EditResponse{Position: r.Seq}), nil
}

func (m *sayings) Retract(ctx context.Context, req *connect.Request[v1.RetractRequest]) (*connect.Response[v1.RetractResponse], error) {
	c, err := changeOf(ctx, req.Msg.Id, req.Msg.RequestId)
	if err != nil {
		return nil, err
	}
	r, err := m.service.Retract(ctx, c)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.RetractResponse{Position: r.Seq}), nil
}

func (m *sayings) React(ctx context.Context, req *connect.Request[v1.ReactRequest]) (*connect.Response[v1.ReactResponse], error) {
	c, err := changeOf(ctx, req.Msg.Id, req.Msg.RequestId)
	if err != nil {
		return nil, err
	}
	r, err := m.service.React(ctx, c, req.Msg.Emoji, req.Msg.Remove)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.ReactResponse{Position: r.Seq}), nil
}

func (m *sayings) MarkRead(ctx context.Context, req *connect.Request[v1.MarkReadRequest]) (*connect.Response[v1.MarkReadResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	receipts, err := m.settings.Value(ctx, by.AOR, setting.Receipts)
	if err != nil {
		return nil, err
	}
	err = m.service.MarkRead(ctx, by.AOR, by.Device, req.Msg.Conversation, req.Msg.Position, receipts != "off")
	return connect.NewResponse(&v1.MarkReadResponse{}), err
}

func (m *sayings) SetTyping(ctx context.Context, req *connect.Request[v1.SetTypingRequest]) (*connect.Response[v1.SetTypingResponse], error) {
	by, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	err = m.service.SetTyping(ctx, by.AOR, req.Msg.Conversation, req.Msg.Active)
	return connect.NewResponse(&v1.SetTypingResponse{}), err
}

// changeOf is what the caller does to a message.
func changeOf(ctx context.Context, on, request string) (message.Change, error) {
	by, err := callerOf(ctx)
	if err != nil {
		return message.Change{}, err
	}
	rid, err := messageID(on)
	return message.Change{From: by.AOR, Device: by.Device, RequestID: request, Message: rid}, err
}

// messageID reads the id of a message.
func messageID(text string) (id.ID, error) {
	rid, err := id.Parse(text)
	if err != nil {
		return id.ID{}, errs.Say(errs.New(errs.Invalid, "api: %q is no id of a message", text), "this is no id of a message")
	}
	return rid, nil
}
