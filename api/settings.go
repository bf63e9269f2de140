package api

import (
	"context"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/service/setting"
	"github.com/parley-im/parley/store"
)

type settings struct{ settings *setting.Service }

func (s *settings) GetSettings(ctx context.Context, _ *connect.Request[v1.GetSettingsRequest]) (*connect.Response[v1.GetSettingsResponse], error) {
	all, err := s.settings.All(ctx, CallerOf(ctx).AOR)
	return connect.NewResponse(&v1.GetSettingsResponse{Settings: all}), err
}

func (s *settings) SetSettings(ctx context.Context, req *connect.Request[v1.SetSettingsRequest]) (*connect.Response[v1.SetSettingsResponse], error) {
	all, err := s.settings.Set(ctx, CallerOf(ctx).AOR, req.Msg.Settings)
	return connect.NewResponse(&v1.SetSettingsResponse{Settings: all}), err
}

func (s *settings) AddPush(ctx context.Context, req *connect.Request[v1.AddPushRequest]) (*connect.Response[v1.AddPushResponse], error) {
	c, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	m := req.Msg
	err = s.settings.AddPush(ctx, store.PushSubscription{Endpoint: m.Endpoint, AOR: c.AOR, Session: c.Session, P256DH: m.P256Dh, Auth: m.Auth, Preview: m.Preview})
	return connect.NewResponse(&v1.AddPushResponse{}), err
}

func (s *settings) RemovePush(ctx context.Context, req *connect.Request[v1.RemovePushRequest]) (*connect.Response[v1.RemovePushResponse], error) {
	err := s.settings.RemovePush(ctx, CallerOf(ctx).AOR, req.Msg.Endpoint)
	return connect.NewResponse(&v1.RemovePushResponse{}), err
}
