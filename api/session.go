package api

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/session"
)

// cookieLife is how long a browser keeps the cookie: as long as the longest life that browsers allow, because the session ends
// before by itself.
const cookieLife = 400 * 24 * time.Hour

type sessions struct {
	sessions  *session.Service
	directory *directory.Service
	info      func() *v1.ServerInfo
	idle      func(session string, since time.Time)
}

func (s *sessions) SignIn(ctx context.Context, req *connect.Request[v1.SignInRequest]) (*connect.Response[v1.SignInResponse], error) {
	m, visit := req.Msg, visitOf(ctx)
	token, v, err := s.sessions.SignIn(ctx, session.SignIn{Address: m.Address, Password: m.Password, Label: m.Device, Class: m.Kind, From: visit.From})
	if err != nil {
		return nil, err
	}
	who, err := s.describe(ctx, v)
	if err != nil {
		return nil, err
	}
	resp := connect.NewResponse(&v1.SignInResponse{Token: token, Session: who})
	if m.Cookie {
		resp.Msg.Token = ""
		resp.Header().Add("Set-Cookie", cookie(visit.Secure, token, cookieLife).String())
	}
	return resp, nil
}

func (s *sessions) SignOut(ctx context.Context, _ *connect.Request[v1.SignOutRequest]) (*connect.Response[v1.SignOutResponse], error) {
	c, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.sessions.End(ctx, c.AOR, c.Session, "signed out"); err != nil && !errors.Is(err, errs.NotFound) {
		return nil, err
	}
	resp := connect.NewResponse(&v1.SignOutResponse{})
	resp.Header().Add("Set-Cookie", cookie(visitOf(ctx).Secure, "", 0).String())
	return resp, nil
}

func (s *sessions) GetSession(ctx context.Context, _ *connect.Request[v1.GetSessionRequest]) (*connect.Response[v1.GetSessionResponse], error) {
	if _, err := sessionOf(ctx); err != nil {
		return nil, err
	}
	visit := visitOf(ctx)
	v, err := s.sessions.Find(ctx, visit.Token, visit.From)
	if err != nil {
		return nil, err
	}
	resp, err := s.describe(ctx, v)
	return connect.NewResponse(resp), err
}

// describe tells a session all about itself.
func (s *sessions) describe(ctx context.Context, v *session.Session) (*v1.GetSessionResponse, error) {
	u, err := s.directory.Get(ctx, v.AOR)
	if err != nil {
		return nil, err
	}
	return &v1.GetSessionResponse{Id: v.ID, Address: v.AOR, Name: u.Name, Admin: u.Admin, Profile: profileOf(&u.Person),
		Expires: timestamppb.New(v.Expires), Server: s.info()}, nil
}

func (s *sessions) SetOwnProfile(ctx context.Context, req *connect.Request[v1.SetOwnProfileRequest]) (*connect.Response[v1.SetOwnProfileResponse], error) {
	c, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	m := req.Msg
	if err := s.directory.SetDetails(ctx, actor(ctx), c.AOR, directory.Details{Office: m.Office, Phone: m.Phone, Mobile: m.Mobile}); err != nil {
		return nil, err
	}
	u, err := s.directory.Get(ctx, c.AOR)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SetOwnProfileResponse{Profile: profileOf(&u.Person)}), nil
}

func (s *sessions) ChangePassword(ctx context.Context, req *connect.Request[v1.ChangePasswordRequest]) (*connect.Response[v1.ChangePasswordResponse], error) {
	c, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := auth.CheckPassword(req.Msg.NewPassword); err != nil {
		return nil, errs.Say(errs.Wrap(errs.Invalid, err, "api: changing a password"), "this password cannot be used; it must be 1 to 512 characters")
	}
	err = s.sessions.ChangePassword(ctx, c.AOR, c.Session, visitOf(ctx).From, req.Msg.OldPassword, func() error {
		return s.directory.SetPassword(ctx, actor(ctx), c.AOR, req.Msg.NewPassword)
	})
	return connect.NewResponse(&v1.ChangePasswordResponse{}), err
}

func (s *sessions) SetActivity(ctx context.Context, req *connect.Request[v1.SetActivityRequest]) (*connect.Response[v1.SetActivityResponse], error) {
	c, err := sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	var since time.Time
	if t := req.Msg.IdleSince; t != nil {
		if since = t.AsTime(); !t.IsValid() || time.Since(since) > 366*24*time.Hour {
			return nil, errs.New(errs.Invalid, "api: idle_since must be a time within the last year")
		}
		since = minTime(since, time.Now()) // clocks differ
	}
	s.idle(c.Session, since)
	return connect.NewResponse(&v1.SetActivityResponse{}), nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
