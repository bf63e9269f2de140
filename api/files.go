package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/service/file"
	"github.com/parley-im/parley/store"
)

type files struct{ service *file.Service }

func (f *files) CreateUpload(ctx context.Context, req *connect.Request[v1.CreateUploadRequest]) (*connect.Response[v1.CreateUploadResponse], error) {
	m := req.Msg
	id, err := f.service.CreateUpload(ctx, file.Upload{Owner: CallerOf(ctx).AOR, Conversation: m.Conversation, Name: m.Name, Type: m.Type, Size: m.Size})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.CreateUploadResponse{Id: id, Url: file.UploadPath(id)}), nil
}

func (f *files) CompleteUpload(ctx context.Context, req *connect.Request[v1.CompleteUploadRequest]) (*connect.Response[v1.CompleteUploadResponse], error) {
	done, err := f.service.CompleteUpload(ctx, CallerOf(ctx).AOR, req.Msg.Id, req.Msg.Sha256)
	if errors.Is(err, file.ErrMissing) {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("bytes of the file are missing; go on with the upload"))
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.CompleteUploadResponse{File: fileOf(done)}), nil
}

func (f *files) CancelUpload(ctx context.Context, req *connect.Request[v1.CancelUploadRequest]) (*connect.Response[v1.CancelUploadResponse], error) {
	return connect.NewResponse(&v1.CancelUploadResponse{}), f.service.CancelUpload(ctx, CallerOf(ctx).AOR, req.Msg.Id)
}

func (f *files) CheckLine(ctx context.Context, req *connect.Request[v1.CheckLineRequest]) (*connect.Response[v1.CheckLineResponse], error) {
	slow, seconds, err := f.service.Check(ctx, CallerOf(ctx).AOR, req.Msg.Conversation, req.Msg.Size)
	return connect.NewResponse(&v1.CheckLineResponse{Slow: slow, Seconds: seconds}), err
}

// fileOf is a file that is complete.
func fileOf(f *store.File) *v1.File {
	return &v1.File{Id: f.ID, Name: f.Name, Size: f.Size, Type: f.Type, Url: file.Path(f.ID, f.Name), Thumbnail: file.ThumbnailPath(f),
		Width: int32(f.Width), Height: int32(f.Height), Sha256: f.SHA256.String()} //nolint:gosec // no picture has 2^31 pixels on a side
}
