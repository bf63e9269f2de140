package api

import (
	"context"
	"io"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
)

// Server tells how the whole is. Filled by package server; nil when no server runs.
type Server interface {
	Status(ctx context.Context) (*v1.StatusResponse, error)
	// Backup writes a tar archive of the data folder.
	Backup(ctx context.Context, w io.Writer) error
}

type status struct{ server Server }

// ErrNotRunning is what Status answers when the API is served without a server.
var ErrNotRunning = errs.Say(errs.New(errs.Unavailable, "api: no server"), "no server is running on this data folder; start it with parley serve")

func (s *status) Status(ctx context.Context, _ *connect.Request[v1.StatusRequest]) (*connect.Response[v1.StatusResponse], error) {
	if s.server == nil {
		return nil, ErrNotRunning
	}
	resp, err := s.server.Status(ctx)
	return connect.NewResponse(resp), err
}

func (s *status) Backup(ctx context.Context, _ *connect.Request[v1.BackupRequest], stream *connect.ServerStream[v1.BackupResponse]) error {
	if s.server == nil {
		return ErrNotRunning
	}
	return s.server.Backup(ctx, chunks{stream})
}

// chunks sends what is written in messages of bounded size.
type chunks struct {
	stream *connect.ServerStream[v1.BackupResponse]
}

func (c chunks) Write(p []byte) (int, error) {
	sent := 0
	for len(p) > 0 {
		n := min(len(p), 64<<10)
		if err := c.stream.Send(&v1.BackupResponse{Chunk: p[:n]}); err != nil {
			return sent, err
		}
		sent, p = sent+n, p[n:]
	}
	return sent, nil
}
