package server

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/api"
	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/transport"
)

// Status implements api.Server.
func (s *Server) Status(ctx context.Context) (*v1.StatusResponse, error) {
	users, err := s.store.CountUsers(ctx)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "server: counting users")
	}
	people, devices := s.registrar.Counts()
	resp := &v1.StatusResponse{
		Version: Version(), Started: timestamppb.New(s.started), Domains: s.cfg.Domains, Store: "sqlite",
		Users: int64(users), SignedIn: int64(people), Devices: int64(devices), OpenCalls: int64(s.call.Open()),
		LogHead: s.store.Head(), Indexed: s.store.Position(), MemoryBytes: resident(), Goroutines: int64(runtime.NumGoroutine()),
	}
	if s.cfg.Store.URL != "" {
		resp.Store = "postgresql"
	}
	for _, k := range []transport.Kind{transport.UDP, transport.TCP, transport.TLS} {
		for _, a := range s.Addrs(k) {
			resp.Listeners = append(resp.Listeners, k.String()+":"+a)
		}
	}
	if a := s.HTTP(); a != "" {
		scheme := "https:"
		if s.cfg.HTTP.TLS == "off" {
			scheme = "http:"
		}
		resp.Listeners = append(resp.Listeners, scheme+a)
	}
	return resp, nil
}

// Status implements api.Server.
func (offline) Status(context.Context) (*v1.StatusResponse, error) {
	return nil, api.ErrNotRunning
}

// resident is the memory that the process holds, in bytes; 0 where the system does not tell.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64) // 0 when malformed
	return pages * int64(os.Getpagesize())
}
