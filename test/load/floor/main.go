// Floor measures what net/http and Connect alone cost for a message of the API, with nothing behind them: one POST, and an event
// on the streams of the receiver and of the sender. The API cannot cost less than this and the recording together.
//
//	go run ./test/load/floor
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
	"github.com/parley-im/parley/test/load/gauge"
)

const (
	pairs    = 100
	inFlight = 64
	size     = 200 // bytes of a text
	warmup   = time.Second
	measured = 6 * time.Second
	self     = "X-Self" // who calls
)

func main() {
	serve := len(os.Args) == 2 && os.Args[1] == "serve"
	run := measure
	if serve {
		run = server
	}
	if err := run(); err != nil {
		log.Fatal("floor: ", err)
	}
}

// hub passes messages on.
type hub struct {
	parleyv1connect.UnimplementedMessageServiceHandler
	parleyv1connect.UnimplementedEventServiceHandler
	mu      sync.Mutex // guards streams
	streams map[string]chan *v1.Event
}

func (h *hub) stream(of string) chan *v1.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[of] == nil {
		h.streams[of] = make(chan *v1.Event, 1024)
	}
	return h.streams[of]
}

func (h *hub) Send(_ context.Context, req *connect.Request[v1.SendRequest]) (*connect.Response[v1.SendResponse], error) {
	from, to := req.Header().Get(self), req.Msg.Conversation
	m := &v1.Message{Id: req.Msg.RequestId, Position: 1, At: timestamppb.Now(), Conversation: to, From: from, Device: "web:floor", Text: req.Msg.Text}
	for _, who := range []string{to, from} {
		h.stream(who) <- &v1.Event{Position: 1, Event: &v1.Event_Message{Message: m}}
	}
	return connect.NewResponse(&v1.SendResponse{Message: m, Delivered: true}), nil
}

func (h *hub) Stream(ctx context.Context, req *connect.Request[v1.StreamRequest], to *connect.ServerStream[v1.Event]) error {
	events := h.stream(req.Header().Get(self))
	if err := to.Send(&v1.Event{}); err != nil {
		return err
	}
	for {
		select {
		case e := <-events:
			if err := to.Send(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// server serves until standard input ends.
func server() error {
	h := &hub{streams: map[string]chan *v1.Event{}}
	mux := http.NewServeMux()
	mux.Handle(parleyv1connect.NewMessageServiceHandler(h))
	mux.Handle(parleyv1connect.NewEventServiceHandler(h, connect.WithCompression("gzip", nil, nil)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until it is closed
		_ = s.Close()
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// measure loads a server in a process of its own.
func measure() (err error) {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(program, "serve")
	child.Stderr = os.Stderr
	end, err := child.StdinPipe()
	if err != nil {
		return err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end.Close(), child.Wait()) }()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var received atomic.Int64
	people := make([]*person, 2*pairs)
	for i := range people {
		if people[i], err = join(ctx, strings.TrimSpace(url), fmt.Sprint("u", i), &received); err != nil {
			return err
		}
	}
	var senders sync.WaitGroup
	for i := range inFlight {
		senders.Go(func() { people[i].talk(ctx, people[pairs+i]) })
	}
	time.Sleep(warmup)
	pid := []int{child.Process.Pid}
	before, err := gauge.Measure(pid, false)
	count := received.Load()
	time.Sleep(measured)
	after, errAfter := gauge.Measure(pid, false)
	done := received.Load() - count
	stop()
	senders.Wait()
	if err = errors.Join(err, errAfter); err != nil {
		return err
	}
	fmt.Printf("%.0f a second, %.2f CPU-s per 10,000\n", float64(done)/measured.Seconds(), (after.CPU-before.CPU)/float64(done)*1e4)
	return nil
}

// person is a client with a connection of its own.
type person struct {
	name  string
	says  parleyv1connect.MessageServiceClient
	heard chan struct{} // from others
}

func join(ctx context.Context, url, name string, received *atomic.Int64) (*person, error) {
	web := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	p := &person{name: name, says: parleyv1connect.NewMessageServiceClient(web, url), heard: make(chan struct{}, 1)}
	req := connect.NewRequest(&v1.StreamRequest{})
	req.Header().Set(self, name)
	events, err := parleyv1connect.NewEventServiceClient(web, url).Stream(ctx, req)
	if err != nil {
		return nil, err
	}
	if !events.Receive() {
		return nil, events.Err()
	}
	go func() {
		for events.Receive() {
			if m := events.Msg().GetMessage(); m.GetFrom() != name {
				received.Add(1)
				p.heard <- struct{}{}
			}
		}
	}()
	return p, nil
}

// talk says one thing after the other until ctx ends.
func (p *person) talk(ctx context.Context, to *person) {
	text := strings.Repeat("x", size)
	for n := 0; ctx.Err() == nil; n++ {
		req := connect.NewRequest(&v1.SendRequest{Conversation: to.name, Text: text, RequestId: fmt.Sprint(p.name, "-", n)})
		req.Header().Set(self, p.name)
		if _, err := p.says.Send(ctx, req); err != nil {
			return // the end
		}
		select {
		case <-to.heard:
		case <-ctx.Done():
		}
	}
}
