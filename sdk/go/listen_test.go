package parley

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
)

// restored is a server whose log is shorter than it was: one stream says so, and then has a message.
type restored struct {
	parleyv1connect.UnimplementedEventServiceHandler
	acknowledged chan int64
}

func (s restored) Stream(ctx context.Context, req *connect.Request[v1.StreamRequest], to *connect.ServerStream[v1.Event]) error {
	for _, e := range []*v1.Event{
		{Event: &v1.Event_Reset_{Reset_: &v1.Reset{Position: 50}}},
		{Event: &v1.Event_Ready{Ready: &v1.Ready{Position: 50}}},
		{Position: 51, Event: &v1.Event_Message{Message: &v1.Message{Text: "hello", Position: 51}}},
	} {
		if err := to.Send(e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s restored) Acknowledge(_ context.Context, req *connect.Request[v1.AcknowledgeRequest]) (*connect.Response[v1.AcknowledgeResponse], error) {
	s.acknowledged <- req.Msg.Position
	return connect.NewResponse(&v1.AcknowledgeResponse{}), nil
}

// narrow takes no message, and says why.
type narrow struct {
	parleyv1connect.UnimplementedMessageServiceHandler
	asked atomic.Int64
}

func (s *narrow) Send(context.Context, *connect.Request[v1.SendRequest]) (*connect.Response[v1.SendResponse], error) {
	if s.asked.Add(1) > 1 {
		return connect.NewResponse(&v1.SendResponse{Message: &v1.Message{Text: "said"}}), nil
	}
	err := connect.NewError(connect.CodeResourceExhausted, errors.New("too many requests"))
	err.Meta().Set("Retry-After", "0")
	return nil, err
}

// Too many messages are said again in a moment; one that is too large never.
func TestSendAgain(t *testing.T) {
	service := &narrow{}
	mux := http.NewServeMux()
	mux.Handle(parleyv1connect.NewMessageServiceHandler(service, connect.WithReadMaxBytes(1000)))
	server := httptest.NewServer(mux)
	defer server.Close()
	c := Dial(server.URL)
	if m, err := c.Say(t.Context(), "bob@example.com", "hello"); err != nil || m.Text != "said" || service.asked.Load() != 2 {
		t.Errorf("%v, %v after %d calls", m, err, service.asked.Load())
	}
	if _, err := c.Say(t.Context(), "bob@example.com", strings.Repeat("x", 2000)); connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Error(err)
	}
}

// A log that begins anew at a lower position is followed from there: what comes is told, kept and acknowledged.
func TestListenAfterReset(t *testing.T) {
	service := restored{acknowledged: make(chan int64, 10)}
	mux := http.NewServeMux()
	mux.Handle(parleyv1connect.NewEventServiceHandler(service))
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	var positions []int64
	var texts []string
	ended := make(chan error, 1)
	go func() {
		ended <- Dial(server.URL).Listen(ctx, Handlers{
			Message:  func(m *v1.Message) { texts = append(texts, m.Text) },
			Position: func(p int64) { positions = append(positions, p) },
		}, From(1000))
	}()
	select {
	case p := <-service.acknowledged:
		if p != 51 {
			t.Errorf("acknowledged %d", p)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was acknowledged")
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !slices.Equal(positions, []int64{50, 51}) || !slices.Equal(texts, []string{"hello"}) {
		t.Errorf("positions %v, messages %q", positions, texts)
	}
}
