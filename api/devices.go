package api

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/session"
)

// Reach is what package server knows of people's devices beside their registrations.
type Reach interface {
	// Online tells whether a session has a stream open.
	Online(aor, session string) bool
	// EndDevice ends the registrations of a SIP device with the connections they came on, and tells whether there were any.
	EndDevice(aor, device string) bool
	// Proxy is where SIP clients find this server: "sip:host:port;transport=tls".
	Proxy() string
}

// The kinds of devices.
const (
	kindSession  = "session"
	kindSIP      = "sip"
	kindPassword = "password"
)

type ownDevices struct {
	sessions  *session.Service
	directory *directory.Service
	devices   Devices
	reach     Reach
}

func (d *ownDevices) ListOwnDevices(ctx context.Context, _ *connect.Request[v1.ListOwnDevicesRequest]) (*connect.Response[v1.ListOwnDevicesResponse], error) {
	c := CallerOf(ctx)
	resp := &v1.ListOwnDevicesResponse{}
	list, err := d.sessions.List(ctx, c.AOR)
	if err != nil {
		return nil, err
	}
	for i := range list {
		s := &list[i]
		resp.Devices = append(resp.Devices, &v1.OwnDevice{Kind: kindSession, Id: s.ID, Label: s.Label, Current: s.ID == c.Session, Online: d.reach.Online(c.AOR, s.ID),
			Created: timestamppb.New(s.Created), Seen: timestamppb.New(s.Seen), Expires: timestamppb.New(s.Expires), Address: s.Address, Transport: "http"})
	}
	seen := map[string]bool{}
	for _, b := range d.devices.Bindings(c.AOR) {
		if seen[b.Device] {
			continue // one flow of several
		}
		seen[b.Device] = true
		v := &v1.OwnDevice{Kind: kindSIP, Id: b.Device, Label: b.UserAgent, Online: true, Created: stamp(b.Created), Seen: stamp(b.Updated),
			Expires: stamp(b.Expires), Transport: b.Transport}
		if a, err := netip.ParseAddrPort(b.Remote); err == nil {
			v.Address = a.Addr().Unmap().String()
		}
		resp.Devices = append(resp.Devices, v)
	}
	passwords, err := d.directory.Devices(ctx, c.AOR)
	if err != nil {
		return nil, err
	}
	for i := range passwords {
		if p := &passwords[i]; !p.Revoked {
			resp.Devices = append(resp.Devices, &v1.OwnDevice{Kind: kindPassword, Id: p.ID, Label: p.Label, Created: stamp(p.Created), Seen: stamp(p.LastUsed)})
		}
	}
	return connect.NewResponse(resp), nil
}

func (d *ownDevices) RevokeDevice(ctx context.Context, req *connect.Request[v1.RevokeDeviceRequest]) (*connect.Response[v1.RevokeDeviceResponse], error) {
	c, m := CallerOf(ctx), req.Msg
	var err error
	switch m.Kind {
	case kindSession:
		err = d.sessions.End(ctx, c.AOR, m.Id, "ended on another device")
	case kindPassword:
		err = d.directory.RevokeDevice(ctx, actor(ctx), c.AOR, m.Id)
	case kindSIP:
		if !d.reach.EndDevice(c.AOR, m.Id) {
			err = errs.New(errs.NotFound, "api: device %q is not registered", m.Id)
		}
	default:
		return nil, errs.New(errs.Invalid, "api: kind must be session, sip or password")
	}
	if errs.KindOf(err) == errs.NotFound {
		err = errs.Say(err, "there is no such device any more")
	}
	return connect.NewResponse(&v1.RevokeDeviceResponse{}), err
}

// maxDevicePasswords is how many device passwords people may make for themselves.
const maxDevicePasswords = 32

func (d *ownDevices) MakeDevicePassword(ctx context.Context, req *connect.Request[v1.MakeDevicePasswordRequest]) (*connect.Response[v1.MakeDevicePasswordResponse], error) {
	c := CallerOf(ctx)
	have, err := d.directory.Devices(ctx, c.AOR)
	if err != nil {
		return nil, err
	}
	live := 0
	for i := range have {
		if !have[i].Revoked {
			live++
		}
	}
	if live >= maxDevicePasswords {
		return nil, errs.New(errs.TooMany, "api: there are %d device passwords already; revoke one that is not needed", live)
	}
	label := strings.TrimSpace(req.Msg.Label)
	if label == "" {
		label = "device of " + time.Now().UTC().Format(time.DateOnly)
	}
	p, password, err := d.directory.AddDevice(ctx, actor(ctx), c.AOR, label)
	if err != nil {
		return nil, err
	}
	user, domain, _ := strings.Cut(c.AOR, "@")
	return connect.NewResponse(&v1.MakeDevicePasswordResponse{Id: p.ID, Password: password, User: user, Domain: domain, Proxy: d.reach.Proxy()}), nil
}
