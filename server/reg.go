package server

import (
	"errors"
	"time"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/registrar"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/reginfo"
)

func (s *Server) registrarOptions() registrar.Options {
	r := s.cfg.Register
	return registrar.Options{
		Domains: s.cfg.Domains, Store: s.store, Key: s.keys.Derive("gruu"),
		UDPFlow: s.transport.UDPFlow, IsListener: s.transport.IsListener, Exists: s.exists, Trust: s.trust, Expect: s.expect,
		MinExpires: r.MinExpires, DefaultExpires: r.DefaultExpires, MaxExpires: r.MaxExpires, FlowTimer: r.FlowTimer,
		PerUser: r.Bindings, PerRequest: r.Contacts, Log: s.log, Registerer: s.registry,
	}
}

// exists asks the cache of accounts.
func (s *Server) exists(aor string, done func(bool, error)) {
	s.auth.Accounts().Lookup(aor, func(u *store.User, err error) {
		if errors.Is(err, errs.NotFound) {
			done(false, nil)
			return
		}
		done(err == nil && !u.Disabled, err)
	})
}

// expect tells the message service, which is built after the registrar.
func (s *Server) expect(aor, device string) { s.message.Expect(aor, device) }

// trust lets the connection of an authenticated REGISTER speak for its account.
func (s *Server) trust(r *route.Request, until time.Time) {
	id := r.Identity
	s.auth.Trust(s.sourceOf(r.Flow), auth.Identity{AOR: id.AOR, Device: id.Device, Name: id.Name, Admin: id.Admin}, until)
	if left := time.Until(until); left > 0 {
		r.Flow.SetIdle(left) // a client without keep-alives stays until its registration ends
	}
}

// sourceOf says to package auth where a request came from.
func (s *Server) sourceOf(f transport.Flow) auth.Source {
	src := auth.Source{Listener: f.Listener(), Kind: f.Kind().String(), Addr: f.Remote()}
	switch f.Kind() {
	case transport.UDP:
		return src
	case transport.WS, transport.WSS:
		src.Listener = s.cfg.WebSocketListener() // it is the HTTP door that listens
	}
	src.Conn = f.ID()
	return src
}

// regInterval is the least time between two notifications (RFC 3680 §4.10).
const regInterval = 5 * time.Second

// buildReg makes the notifier of the registration event package (RFC 3680).
func (s *Server) buildReg() {
	source := s.registrar.RegEvent()
	s.reg = dialog.NewNotifier(dialog.Options{
		Event: "reg", Types: []string{reginfo.ContentType}, Source: source, Transactions: s.transactions, Contact: s.contact, NextHop: s.proxy.NextHop,
		Interval: regInterval, PerWatcher: s.cfg.Limits.Subscriptions, Log: s.log, Registerer: s.registry,
	})
	source.SetNotifier(s.reg)
}

// contact is our own Contact for a peer on a flow.
func (s *Server) contact(f transport.Flow) string {
	_, sentBy := s.transport.Via(f)
	return "sip:" + sentBy + ";transport=" + f.Kind().String()
}

// subscribeReg hands SUBSCRIBE to the notifier.
func (s *Server) subscribeReg(r *route.Request) {
	s.reg.HandleSubscribe(r.Tx, r.Msg, dialog.Watcher{AOR: r.Identity.AOR, Device: r.Identity.Device, Admin: r.Identity.Admin})
}

// devices shows bindings to the API.
type devices struct{ r *registrar.Registrar }

func (d devices) Bindings(aor string) []store.Binding {
	var list []store.Binding
	for _, b := range d.r.Bindings(aor) {
		list = append(list, store.Binding{
			AOR: b.AOR, Contact: b.Contact, Device: b.Device, UserAgent: b.UserAgent, Transport: b.Transport, Remote: b.Remote.String(),
			Created: b.Created, Updated: b.Updated, Expires: b.Expires,
		})
	}
	return list
}
