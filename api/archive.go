package api

import (
	"context"
	"encoding/hex"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/archive"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/store"
)

type records struct{ archive *archive.Service }

func (a *records) Search(ctx context.Context, req *connect.Request[v1.SearchRequest]) (*connect.Response[v1.SearchResponse], error) {
	m := req.Msg
	list, err := a.archive.Search(ctx, archive.Actor{Name: caller(ctx), Via: via}, store.Query{
		Words: m.Words, Person: m.Person, With: m.With, Since: instant(m.Since), Until: instant(m.Until), Kinds: m.Kinds,
		Before: m.Before, After: m.After, Limit: int(m.Limit), Newest: !m.OldestFirst,
	})
	if err != nil {
		return nil, err
	}
	resp := &v1.SearchResponse{Records: make([]*v1.Record, len(list))}
	for i := range list {
		resp.Records[i] = recordOf(&list[i])
	}
	return connect.NewResponse(resp), nil
}

func (a *records) FetchFile(ctx context.Context, req *connect.Request[v1.FetchFileRequest], stream *connect.ServerStream[v1.FetchFileResponse]) error {
	f, err := a.archive.File(ctx, archive.Actor{Name: caller(ctx), Via: via}, req.Msg.Record)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := stream.Send(&v1.FetchFileResponse{Name: f.Name, Type: f.Type, Size: f.Size, Sha256: f.Hash.String()}); err != nil {
		return err
	}
	return f.Copy(ctx, pieces{stream})
}

// pieces sends what is written as the content of a file.
type pieces struct {
	stream *connect.ServerStream[v1.FetchFileResponse]
}

func (p pieces) Write(b []byte) (int, error) {
	if err := p.stream.Send(&v1.FetchFileResponse{Chunk: b}); err != nil {
		return 0, err
	}
	return len(b), nil
}

func recordOf(r *store.Record) *v1.Record {
	out := &v1.Record{
		Seq: r.Seq, Id: r.ID.String(), Time: timestamppb.New(r.At), Kind: r.Kind, From: r.From, To: r.To, Device: r.Device,
		ContentType: r.ContentType, Body: r.Body, Text: message.Text(r), Meta: r.Meta, Hash: hex.EncodeToString(r.Hash[:]),
	}
	if r.Ref != (id.ID{}) {
		out.Ref = r.Ref.String()
	}
	return out
}

func instant(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
