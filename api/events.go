package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/service/conversation"
	"github.com/parley-im/parley/service/feed"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/service/presence"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/store"
)

// writeWithin is how long an event may wait for a client that does not read: the laptop sleeps, or the program hangs.
const writeWithin = 30 * time.Second

// events serves the event streams.
type events struct {
	hub           *feed.Hub
	conversations *conversation.Service
	presence      Presence
	hidden        Hidden
	sight         Sight
	sessions      *session.Service
}

// pipe is the way of a stream to its client. A context holds it under lineKey.
type pipe interface {
	heard()        // the request was read
	more(yes bool) // said before each event: whether another one comes at once
	flush()        // sends what has waited for more
}

type lineKey struct{}

// httpPipe is the way through net/http: each event goes out by itself.
type httpPipe struct{ *http.ResponseController }

// heard takes the deadline away by which the request had to be there.
func (p httpPipe) heard() { _ = p.SetReadDeadline(time.Time{}) } // a connection that has no deadlines is a test's

// more bounds how long the client may not read.
func (p httpPipe) more(bool) { _ = p.SetWriteDeadline(time.Now().Add(writeWithin)) }

func (httpPipe) flush() {}

// withPipe serves streams through net/http.
func withPipe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, taken := w.(*line); taken {
			next.ServeHTTP(w, r)
			return
		}
		c := http.NewResponseController(w)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), lineKey{}, pipe(httpPipe{c}))))
	})
}

func (s *events) Stream(ctx context.Context, req *connect.Request[v1.StreamRequest], to *connect.ServerStream[v1.Event]) error {
	by, err := sessionOf(ctx)
	if err != nil {
		return err
	}
	from, err := s.hub.Open(ctx, feed.Caller{AOR: by.AOR, Session: by.Session, Device: by.Device, Kind: by.Kind, Label: by.Label},
		feed.Start{Position: req.Msg.Position, Presence: req.Msg.Presence, Follow: req.Msg.Follow})
	if err != nil {
		return err
	}
	defer from.Close()
	if err := s.still(ctx); err != nil {
		return err
	}
	line, _ := ctx.Value(lineKey{}).(pipe)
	if line == nil {
		return connect.NewError(connect.CodeInternal, errors.New("no way to the client"))
	}
	line.heard()
	defer line.more(false)
	for {
		e, err := from.Next(ctx)
		switch {
		case errors.Is(err, feed.ErrEnded):
			return nil
		case errors.Is(err, feed.ErrStopping):
			return Public(err) // nothing has failed
		}
		if err != nil {
			return err
		}
		if err := s.tell(ctx, by, &e, to, line, from.More()); err != nil {
			return err
		}
	}
}

// tell sends an event. More says that another one comes at once.
func (s *events) tell(ctx context.Context, by Caller, e *feed.Event, to *connect.ServerStream[v1.Event], line pipe, more bool) error {
	out, err := s.eventOf(ctx, by, e)
	if err != nil {
		return err
	}
	s.sight.of(by.AOR).event(ctx, out)
	line.more(more)
	if out != nil {
		return to.Send(out) // an error is of the connection: there is nobody to tell
	}
	if !more {
		line.flush()
	}
	return nil
}

// still says that the session has not ended since the door has let it in: whoever ended it before Open found no stream to end.
func (s *events) still(ctx context.Context) error {
	visit := visitOf(ctx)
	if s.sessions == nil || visit.Token == "" { // who calls was said in another way
		return nil
	}
	_, err := s.sessions.Find(ctx, visit.Token, visit.From)
	return err
}

func (s *events) Follow(ctx context.Context, req *connect.Request[v1.FollowRequest]) (*connect.Response[v1.FollowResponse], error) {
	by, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	err = s.hub.Follow(ctx, by.Session, req.Msg.Stream, req.Msg.People)
	return connect.NewResponse(&v1.FollowResponse{}), err
}

func (s *events) Acknowledge(ctx context.Context, req *connect.Request[v1.AcknowledgeRequest]) (*connect.Response[v1.AcknowledgeResponse], error) {
	by, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	err = s.hub.Acknowledge(ctx, by.Session, req.Msg.Position)
	return connect.NewResponse(&v1.AcknowledgeResponse{}), err
}

// eventOf is an event as its viewer is told it; nil when there is nothing to tell.
func (s *events) eventOf(ctx context.Context, by Caller, e *feed.Event) (*v1.Event, error) {
	out := &v1.Event{Position: e.Position}
	switch e.Kind {
	case feed.Ready:
		out.Position = 0
		out.Event = &v1.Event_Ready{Ready: &v1.Ready{Stream: e.Name, Position: e.Position}}
	case feed.Reset:
		out.Position = 0
		out.Event = &v1.Event_Reset_{Reset_: &v1.Reset{Position: e.Position}}
	case feed.Ping:
		out.Event = &v1.Event_Ping{Ping: &v1.Ping{Now: timestamppb.Now()}}
	case feed.Recorded:
		if out = recordedEvent(by.AOR, e, out); !s.hidden.tells(ctx, e, out, by.AOR) {
			return nil, nil
		}
		return out, nil
	case feed.Fated:
		f := e.Fate
		d := &v1.DeliveryChanged{Conversation: f.To, MessagePosition: f.MessageSeq, What: f.Outcome, Device: f.Device, At: stamp(f.At)}
		if !f.Message.IsZero() {
			d.Id = f.Message.String()
		}
		if out.Event = (&v1.Event_Delivery{Delivery: d}); !s.hidden.tells(ctx, e, out, by.AOR) {
			return nil, nil
		}
	case feed.Typing:
		out.Event = &v1.Event_Typing{Typing: &v1.TypingChanged{Conversation: e.Name, Active: e.Active}}
	case feed.Seen:
		seen, ok := e.Value.(presence.Seen)
		if !ok {
			return nil, nil
		}
		out.Event = &v1.Event_Presence{Presence: seenOf(&seen)}
	case feed.Own:
		own, err := s.presence.Own(ctx, presence.Actor{Name: by.AOR, Via: via}, by.AOR)
		if err != nil {
			return nil, err
		}
		out.Event = &v1.Event_OwnPresence{OwnPresence: presenceState(&own.State)}
	case feed.Contacts:
		out.Event = &v1.Event_Contacts{Contacts: &v1.ContactsOutdated{Version: e.Version}}
	case feed.Drafted:
		d, err := s.conversations.Draft(ctx, by.AOR, e.Name)
		if err != nil {
			return nil, err
		}
		out.Event = &v1.Event_Draft{Draft: draftOf(&d)}
	case feed.Settings:
		out.Event = &v1.Event_Settings{Settings: &v1.SettingsOutdated{}}
	case feed.Ended:
		out.Event = &v1.Event_SessionEnded{SessionEnded: &v1.SessionEnded{Reason: e.Name}}
	default:
		return nil, nil
	}
	return out, nil
}

// recordedEvent is a record as its viewer is told of it; nil for one that is nothing to tell.
func recordedEvent(viewer string, e *feed.Event, out *v1.Event) *v1.Event {
	r := e.Record
	at, with := timestamppb.New(r.At), otherSide(viewer, r)
	switch r.Kind {
	case store.KindMessage, store.KindCallStart:
		out.Event = &v1.Event_Message{Message: messageOf(viewer, r, e.About)}
	case store.KindEdit:
		c := content.Read(r)
		out.Event = &v1.Event_Edited{Edited: &v1.MessageEdited{Id: r.Ref.String(), Conversation: with, Text: c.Text, Html: c.HTML, At: at}}
	case store.KindRetract:
		out.Event = &v1.Event_Retracted{Retracted: &v1.MessageRetracted{Id: r.Ref.String(), Conversation: with, At: at}}
	case store.KindReaction:
		out.Event = &v1.Event_Reaction{Reaction: &v1.ReactionChanged{Id: r.Ref.String(), Conversation: with, From: r.From,
			Emoji: content.Read(r).Text, Removed: r.MetaValue(store.MetaRemoved) != "", At: at}}
	case store.KindCallEnd:
		out.Event = &v1.Event_CallEnded{CallEnded: &v1.CallEnded{Id: r.Ref.String(), Conversation: with, Call: callOf(r)}}
	case store.KindReceipt:
		return receiptEvent(viewer, r, out)
	default:
		return nil
	}
	return out
}

// receiptEvent tells of a receipt: of one of this server, or of a SIP client (RFC 5438).
func receiptEvent(viewer string, r *store.Record, out *v1.Event) *v1.Event {
	with := otherSide(viewer, r)
	if peer := r.MetaValue(store.MetaPeer); peer != "" {
		with = peer
	}
	upto, _ := strconv.ParseInt(r.MetaValue(store.MetaSeq), 10, 64) // 0 when it is not known
	of := ""
	if !r.Ref.IsZero() {
		of = r.Ref.String()
	}
	switch what := r.MetaValue(store.MetaOutcome); {
	case of == "" && upto == 0:
		return nil
	case what == store.OutcomeDisplayed:
		out.Event = &v1.Event_Read{Read: &v1.ReadChanged{Conversation: with, By: r.From, Read: upto, Id: of, At: timestamppb.New(r.At)}}
	case what == store.OutcomeDelivered && r.From != viewer:
		out.Event = &v1.Event_Delivery{Delivery: &v1.DeliveryChanged{Id: of, Conversation: with, MessagePosition: upto,
			What: store.OutcomeDelivered, Device: r.Device, At: timestamppb.New(r.At)}}
	default:
		return nil
	}
	return out
}
