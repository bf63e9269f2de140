package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/store"
)

// Devices tells who is signed in by SIP. Filled by the registrar; nil when no server runs.
type Devices interface {
	Bindings(aor string) []store.Binding
}

// maxUsers is the largest page of ListUsers.
const maxUsers = 10_000

type users struct {
	directory *directory.Service
	devices   Devices
	sessions  *session.Service // nil when no server runs, as reach
	reach     Reach
}

func actor(ctx context.Context) directory.Actor {
	id := whois(ctx)
	return directory.Actor{Name: id.name, Via: via, Admin: id.Admin}
}

func (u *users) AddUsers(ctx context.Context, req *connect.Request[v1.AddUsersRequest]) (*connect.Response[v1.AddUsersResponse], error) {
	list := make([]directory.NewUser, len(req.Msg.Users))
	for i, n := range req.Msg.Users {
		list[i] = directory.NewUser{AOR: n.Address, Name: n.Name, Password: n.Password, Admin: n.Admin, Person: personOf(n.Profile)}
	}
	added, err := u.directory.Add(ctx, actor(ctx), list)
	return connect.NewResponse(&v1.AddUsersResponse{Added: int32(added)}), err
}

func (u *users) ListUsers(ctx context.Context, req *connect.Request[v1.ListUsersRequest]) (*connect.Response[v1.ListUsersResponse], error) {
	limit := int(req.Msg.Limit)
	if limit == 0 {
		limit = 1000
	}
	if limit < 0 || limit > maxUsers {
		return nil, errs.New(errs.Invalid, "api: limit must be between 1 and %d", maxUsers)
	}
	list, err := u.directory.List(ctx, store.UserFilter{Match: req.Msg.Match, After: req.Msg.After, Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	resp := &v1.ListUsersResponse{More: len(list) > limit}
	for _, row := range list[:min(limit, len(list))] {
		resp.Users = append(resp.Users, userOf(&row))
	}
	return connect.NewResponse(resp), nil
}

func (u *users) GetUser(ctx context.Context, req *connect.Request[v1.GetUserRequest]) (*connect.Response[v1.GetUserResponse], error) {
	row, err := u.directory.Get(ctx, req.Msg.Address)
	if err != nil {
		return nil, err
	}
	passwords, err := u.directory.Devices(ctx, row.AOR)
	if err != nil {
		return nil, err
	}
	resp := &v1.GetUserResponse{User: userOf(row)}
	for i := range passwords {
		resp.DevicePasswords = append(resp.DevicePasswords, devicePasswordOf(&passwords[i]))
	}
	if u.devices != nil {
		for _, b := range u.devices.Bindings(row.AOR) {
			resp.Bindings = append(resp.Bindings, &v1.Binding{
				Contact: b.Contact, Device: b.Device, UserAgent: b.UserAgent, Transport: b.Transport, Remote: b.Remote, Expires: stamp(b.Expires),
			})
		}
	}
	return connect.NewResponse(resp), nil
}

func (u *users) SetPassword(ctx context.Context, req *connect.Request[v1.SetPasswordRequest]) (*connect.Response[v1.SetPasswordResponse], error) {
	err := u.directory.SetPassword(ctx, actor(ctx), req.Msg.Address, req.Msg.Password)
	return connect.NewResponse(&v1.SetPasswordResponse{}), err
}

func (u *users) SetDisabled(ctx context.Context, req *connect.Request[v1.SetDisabledRequest]) (*connect.Response[v1.SetDisabledResponse], error) {
	err := u.directory.SetDisabled(ctx, actor(ctx), req.Msg.Address, req.Msg.Disabled)
	return connect.NewResponse(&v1.SetDisabledResponse{}), err
}

func (u *users) RemoveUser(ctx context.Context, req *connect.Request[v1.RemoveUserRequest]) (*connect.Response[v1.RemoveUserResponse], error) {
	err := u.directory.Remove(ctx, actor(ctx), req.Msg.Address)
	return connect.NewResponse(&v1.RemoveUserResponse{}), err
}

func (u *users) AddDevicePassword(ctx context.Context, req *connect.Request[v1.AddDevicePasswordRequest]) (*connect.Response[v1.AddDevicePasswordResponse], error) {
	d, password, err := u.directory.AddDevice(ctx, actor(ctx), req.Msg.Address, req.Msg.Label)
	if err != nil {
		return nil, err
	}
	resp := &v1.AddDevicePasswordResponse{DevicePassword: devicePasswordOf(&d), Password: password}
	resp.User, resp.Domain, _ = strings.Cut(d.AOR, "@")
	if u.reach != nil {
		resp.Proxy = u.reach.Proxy()
	}
	return connect.NewResponse(resp), nil
}

func (u *users) RevokeDevicePassword(ctx context.Context, req *connect.Request[v1.RevokeDevicePasswordRequest]) (*connect.Response[v1.RevokeDevicePasswordResponse], error) {
	err := u.directory.RevokeDevice(ctx, actor(ctx), req.Msg.Address, req.Msg.Id)
	return connect.NewResponse(&v1.RevokeDevicePasswordResponse{}), err
}

func userOf(row *store.User) *v1.User {
	return &v1.User{
		Address: row.AOR, Name: row.Name, Admin: row.Admin, Disabled: row.Disabled,
		Created: stamp(row.Created), Changed: stamp(row.Changed), Profile: profileOf(&row.Person),
	}
}

func devicePasswordOf(d *store.DevicePassword) *v1.DevicePassword {
	return &v1.DevicePassword{Id: d.ID, Label: d.Label, Created: stamp(d.Created), LastUsed: stamp(d.LastUsed), Revoked: d.Revoked}
}

// stamp is absent for the zero time.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func (u *users) ListSessions(ctx context.Context, req *connect.Request[v1.ListSessionsRequest]) (*connect.Response[v1.ListSessionsResponse], error) {
	_, list, err := u.sessionsOf(ctx, req.Msg.Address)
	if err != nil {
		return nil, err
	}
	resp := &v1.ListSessionsResponse{}
	for i := range list {
		s := &list[i]
		resp.Sessions = append(resp.Sessions, &v1.UserSession{Id: s.ID, Label: s.Label, Kind: s.Class, From: s.Address, Online: u.reach.Online(s.AOR, s.ID),
			Created: stamp(s.Created), Seen: stamp(s.Seen), Expires: stamp(s.Expires)})
	}
	return connect.NewResponse(resp), nil
}

func (u *users) EndSession(ctx context.Context, req *connect.Request[v1.EndSessionRequest]) (*connect.Response[v1.EndSessionResponse], error) {
	aor, list, err := u.sessionsOf(ctx, req.Msg.Address)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(list, func(s store.Session) bool { return s.ID == req.Msg.Id }) {
		return nil, errs.New(errs.NotFound, "api: %s has no session %q; parley session list %s lists them", aor, req.Msg.Id, aor)
	}
	err = u.directory.EndSession(ctx, actor(ctx), aor, req.Msg.Id, func() error {
		return u.sessions.End(ctx, aor, req.Msg.Id, "ended by an administrator")
	})
	return connect.NewResponse(&v1.EndSessionResponse{}), err
}

// sessionsOf are the sessions of an account.
func (u *users) sessionsOf(ctx context.Context, address string) (aor string, _ []store.Session, err error) {
	if u.sessions == nil {
		return "", nil, ErrNotRunning
	}
	row, err := u.directory.Get(ctx, address)
	if err != nil {
		return "", nil, err
	}
	list, err := u.sessions.List(ctx, row.AOR)
	return row.AOR, list, err
}
