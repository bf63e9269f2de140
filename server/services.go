package server

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/bus"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/archive"
	"github.com/parley-im/parley/service/call"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/service/registrar"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// buildSIP opens the sockets and makes everything up to the proxy.
func (s *Server) buildSIP(context.Context) error {
	sipTLS, err := s.tls("sip.certificate", s.cfg.SIP.Certificate, s.cfg.SIP.Key)
	if err != nil {
		return err
	}
	l := s.cfg.Limits
	s.transport, err = transport.Listen(transport.Options{
		UDP: s.cfg.SIP.UDP, TCP: s.cfg.SIP.TCP, TLS: s.cfg.SIP.TLS, TLSConfig: sipTLS, Advertise: s.cfg.SIP.Advertise,
		Limits: transport.Limits{
			SIP:      sip.Limits{Headers: l.Headers, HeaderBytes: l.HeaderBytes, Body: l.Body + envelope, Vias: l.Vias, Line: l.Line},
			Datagram: l.Datagram, Connections: l.Connections, PerAddress: l.ConnectionsPerAddress,
			Greeting: l.GreetingTimeout, Idle: l.IdleTimeout, Partial: l.MessageTimeout, Handshake: l.HandshakeTimeout,
			QueueBytes: l.WriteQueue, Rate: l.UnprovenRate, Burst: 2 * l.UnprovenRate,
		},
		Log: s.log, Registerer: s.registry,
	})
	if err != nil {
		return cannotListen(err)
	}
	s.transactions = transaction.New(transaction.Options{
		Transport: s.transport, Limits: transaction.Limits{Server: l.Transactions, Client: l.Transactions}, Log: s.log, Registerer: s.registry,
	})
	s.home = &route.Home{Domains: s.cfg.Domains, IsLocal: s.transport.IsLocal}
	s.policy = policy.New(policy.Options{Methods: s.cfg.SIP.Methods, InfoTypes: s.cfg.SIP.InfoTypes})
	s.mux = route.NewMux()
	s.mux.Restrict(s.policy.Method)
	s.registrar, err = registrar.New(s.registrarOptions())
	if err != nil {
		return err
	}
	s.proxy = route.NewProxy(route.ProxyOptions{
		Transport: s.transport, Transactions: heard{s.transactions, s}, Home: s.home, Locator: s.registrar, Reacher: s.registrar,
		Key: s.keys.Derive("flow tokens"), Body: s.judgeBody, MaxBreadth: l.MaxBreadth,
		SessionExpires: s.cfg.Call.SessionExpires, MinSE: s.cfg.Call.MinSE, Log: s.log, Registerer: s.registry,
	})
	return nil
}

// cannotListen says what to do about an address that cannot be opened: "transport: udp 0.0.0.0:5060: why: …".
func cannotListen(err error) error {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(err.Error(), "transport: "), " ")
	address, _, _ := strings.Cut(rest, ": ")
	why := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = "another program uses this port; stop it, or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "this machine does not have that address; choose one of its own, or 0.0.0.0 for all of them"
	case errors.Is(err, syscall.EACCES):
		why = "this account may not use this port; choose one above 1023"
	default:
		return errs.Wrap(errs.Invalid, err, "server: opening the SIP listeners")
	}
	return errs.New(errs.Conflict, "server: sip.%s = %q: %s", kind, address, why)
}

// envelope is what a body that reaches its limit may take more on the wire, compressed or wrapped, so that it is
// the message service that refuses it, with words.
const envelope = 64 << 10

// buildServices makes what people come for, and the chain that leads there.
func (s *Server) buildServices(context.Context) error {
	if err := s.buildFiles(); err != nil {
		return err
	}
	s.message = message.New(message.Options{
		Levels: levels{s}, Typing: s.typing, Files: s.messageFiles(), Clients: clients{s, fileAddress(s.cfg)},
		Store: s.store, Devices: s.registrar, Accounts: s.auth.Accounts(), Dialogs: dialogs{s}, Forward: s.proxy, Transactions: s.transactions,
		Quiet:   func(owner, from string) bool { return s.presence.Quiet(owner, from) },
		Hidden:  func(owner, from string) bool { return s.presence.Hidden(owner, from) },
		MaxBody: s.cfg.Limits.Body, Window: s.cfg.Message.Window, Lapse: s.cfg.Message.DeviceLapse, Rate: s.cfg.Message.Rate, Log: s.log, Registerer: s.registry,
	})
	s.call = call.New(call.Options{
		Store: s.store, Locator: s.registrar, Addresses: s.registrar, Accounts: s.auth.Accounts(), Forward: s.proxy,
		Transactions: s.transactions, NextHop: s.proxy.NextHop, Body: s.judgeBody, Ring: s.cfg.Call.RingTimeout, Log: s.log, Registerer: s.registry,
		Quiet:  func(owner, from string) bool { return s.presence.Quiet(owner, from) },
		Hidden: func(owner, from string) bool { return s.presence.Hidden(owner, from) },
		Watch: func(aor string, ringing, talking int) {
			s.presence.CallsChanged(aor, compose.Calls{Ringing: ringing, Talking: talking})
		},
	})
	s.buildReg()
	s.directory = directory.New(directory.Options{Store: s.store, People: s.store.sql.People(), Keys: s.keys, Domains: s.cfg.Domains, Changed: s.changed})
	s.archive = archive.New(s.store, contentOf(s.cfg.Data))
	if err := s.buildBrowsers(); err != nil {
		return err
	}
	s.registrar.Watch(s.bindingChanged)
	if _, err := bus.Subscribe(s.bus, s.changedElsewhere); err != nil {
		return err
	}
	if err := s.buildContacts(); err != nil {
		return err
	}
	if err := s.buildPresence(); err != nil {
		return err
	}
	if err := s.buildFeed(); err != nil {
		return err
	}
	s.transactions.SetHandler(route.NewCore(route.CoreOptions{
		Chain: s.chain(),
		Closed: []func(transport.Flow, error){
			s.flowClosed,
			func(f transport.Flow, _ error) { s.auth.ConnClosed(f.ID()) },
		},
		Log: s.log, Registerer: s.registry,
	}))
	return nil
}

// flowClosed tells the registrar of connections that their clients closed, or lost. Those that end because this server stops
// are nobody's leaving: after the start these people are there as after a crash, and most of them come back at once.
func (s *Server) flowClosed(f transport.Flow, err error) {
	if s.stopping() {
		return
	}
	s.registrar.FlowClosed(f, err)
}

// bindingChanged tells the message service that a device is there, and the presence agent that something is different.
func (s *Server) bindingChanged(e registrar.Event) {
	b := e.Binding
	if e.Kind == registrar.Registered || e.Kind == registrar.Refreshed {
		s.message.Arrived(b.AOR, b.Device)
		for _, n := range s.presence.notifiers() {
			n.Arrived(b.AOR, b.Device, b.Flow)
		}
	}
	s.presence.DevicesChanged(b.AOR)
}

// changed is told by the directory of a change to an account. It has taken effect here when it returns, so that who has
// just got a password can sign in with it; other nodes hear of it.
func (s *Server) changed(aor string, c directory.Change) {
	s.userChanged(aor, c)
	bus.Publish(s.bus, bus.UserChanged{AOR: aor, Kind: string(c), Node: s.node})
}

// changedElsewhere hears of all changes. What was done here is done, and doing it again would end new sessions.
func (s *Server) changedElsewhere(e bus.UserChanged) {
	if e.Node != s.node {
		s.userChanged(e.AOR, directory.Change(e.Kind))
	}
}

// userChanged forgets what was known of an account, and ends its sessions when it may not have them any more.
func (s *Server) userChanged(aor string, c directory.Change) {
	switch c {
	case directory.Disabled, directory.Removed, directory.Password, directory.Revoked:
		if c == directory.Disabled || c == directory.Removed {
			s.call.Close(aor) // first: its own devices are to hear of it as well
		}
		s.sessions.AccountChanged(aor, c != directory.Revoked, sessionReasons[c])
		s.endSessions(aor)
		if c == directory.Removed {
			s.message.Forget(aor)
			s.contacts.Outdated(aor, 0)
			s.presence.UserChanged(aor, true)
		}
	default:
		s.auth.Accounts().Invalidate(aor)
		s.sessions.AccountChanged(aor, false, "")
		if c == directory.Added {
			s.presence.UserChanged(aor, false)
		}
	}
}

// endSessions ends all that an account has open.
func (s *Server) endSessions(aor string) {
	flows := s.registrar.Flows(aor)
	for _, c := range s.auth.Conns(aor) {
		if f, ok := s.transport.Lookup(c); ok {
			flows = append(flows, f)
		}
	}
	s.auth.UserChanged(aor)
	s.registrar.Remove(aor)
	for _, n := range append(s.presence.notifiers(), s.reg) {
		n.TerminateWatcher(aor, "rejected")
	}
	for _, f := range flows {
		f.Close("the account was changed by an administrator")
	}
}

func (s *Server) gruuOwner(uri sip.URI) (string, bool) {
	return s.registrar.Owner(uri)
}

func (s *Server) judgeBody(m *sip.Message) *route.Refusal {
	no := s.policy.Body(m)
	if no == nil {
		return nil
	}
	return (*route.Refusal)(no)
}

// dialogs lets the message service ask the call service, which is built after it.
type dialogs struct{ s *Server }

func (d dialogs) Peer(callID, fromTag, toTag string) (string, bool) {
	return d.s.call.Peer(callID, fromTag, toTag)
}

// heard lets the call service, which is built after the proxy, hear what the proxy sends and what comes back.
type heard struct {
	*transaction.Layer
	s *Server
}

func (h heard) Send(hop transaction.Hop, d *sip.Draft, ch transaction.ClientHandler) *transaction.Client {
	return h.s.call.Send(hop, d, ch)
}

// authenticator adapts package auth to the chain.
type authenticator struct{ s *Server }

func (a authenticator) Authenticate(r *route.Request, proxy bool) {
	a.s.auth.Authenticate(r.Msg, a.s.sourceOf(r.Flow), proxy, func(res auth.Result) {
		if res.Digest {
			a.s.transport.Prove(r.Flow)
		}
		id := res.Identity
		r.Authenticated(route.Verdict{
			Identity: route.Identity{AOR: id.AOR, Device: id.Device, Name: id.Name, Admin: id.Admin},
			Status:   res.Status, Reason: res.Reason, Warning: res.Warning, Challenges: res.Challenges,
			RetryAfter: res.RetryAfter, Info: res.AuthenticationInfo,
		})
	})
}

// speaksFor tells whether a From that is not the AOR is a GRUU of who signed in.
func (s *Server) speaksFor(id route.Identity, from sip.URI) bool {
	return s.auth.SpeaksFor(auth.Identity{AOR: id.AOR, Device: id.Device, Name: id.Name, Admin: id.Admin}, from)
}

// isLocal asks the transport, which is built after who asks.
func (s *Server) isLocal(host string, port uint16) bool { return s.transport.IsLocal(host, port) }
