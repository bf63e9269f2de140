package ledger

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
	parley "github.com/parley-im/parley/sdk/go"
)

// known is what a server would answer.
type known struct {
	parleyv1connect.UnimplementedArchiveServiceHandler
	parleyv1connect.UnimplementedUserServiceHandler
	at time.Time
}

func (k known) Search(_ context.Context, r *connect.Request[v1.SearchRequest]) (*connect.Response[v1.SearchResponse], error) {
	var list []*v1.Record
	switch {
	case r.Msg.Words == "w1x2":
		list = append(list, &v1.Record{Seq: 7, Id: "id7", Time: timestamppb.New(k.at)})
	case r.Msg.Words == "w1x3":
		list = append(list, &v1.Record{Seq: 8, Id: "id8", Time: timestamppb.New(k.at)})
	case r.Msg.Person == "b@x" && r.Msg.Kinds[0] == "delivery":
		list = append(list,
			&v1.Record{Ref: "another", Device: "plain", Time: timestamppb.New(k.at), Meta: map[string]string{"outcome": "refused"}},
			&v1.Record{Ref: "id8", Device: "plain", Time: timestamppb.New(k.at), Meta: map[string]string{"outcome": "delivered", "status": "200"}})
	}
	return connect.NewResponse(&v1.SearchResponse{Records: list}), nil
}

func (k known) GetUser(context.Context, *connect.Request[v1.GetUserRequest]) (*connect.Response[v1.GetUserResponse], error) {
	return connect.NewResponse(&v1.GetUserResponse{Bindings: []*v1.Binding{{Transport: "udp", Remote: "127.0.0.1:9", Expires: timestamppb.New(k.at.Add(time.Hour))}}}), nil
}

func TestExplain(t *testing.T) {
	k := known{at: time.Now()}
	mux := http.NewServeMux()
	mux.Handle(parleyv1connect.NewArchiveServiceHandler(k))
	mux.Handle(parleyv1connect.NewUserServiceHandler(k))
	file := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }() // until Close
	defer server.Close()
	api := parley.Dial("unix:" + file)
	var d Diary
	for i := range pages + 1 {
		d.Note("did %d", i)
	}
	for _, c := range []struct {
		word string
		says []string
	}{
		{"w1x2", []string{"w1x2 from a@x to b@x (device plain, udp): 202 ", "archive: no. 7, ", " pending", "udp 127.0.0.1:9 until in ", "device: did 1 ", "did 8 "}},
		{"w1x3", []string{" delivered at plain ", " 200;"}},
		{"w1x4", []string{"archive: not on record"}},
		{"", []string{"a receipt from a@x"}},
	} {
		got := Missing{Word: c.word, From: "a@x", To: "b@x", Device: "plain", Transport: "udp", Ack: Ack{k.at, 202}, Diary: &d}.Explain(t.Context(), api)
		for _, want := range c.says {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %q", want, got)
			}
		}
		if strings.Contains(got, "did 0") || strings.Contains(got, "refused") {
			t.Errorf("too much is in %q", got)
		}
	}
	if got := (Missing{Word: "w1x2", Diary: &Diary{}}).Explain(t.Context(), parley.Dial("unix:"+file+"not")); !strings.Contains(got, "never signed in") {
		t.Errorf("without a server: %q", got)
	}
}
