package server

import (
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/api"
	webdoor "github.com/parley-im/parley/api/door"
	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/rate"
	"github.com/parley-im/parley/bus"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/file"
	"github.com/parley-im/parley/service/push"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/service/setting"
	"github.com/parley-im/parley/web"
)

// browsers is what people who sign in over HTTP need.
type browsers struct {
	sessions *session.Service
	settings *setting.Service
	file     *file.Service // nil: none, as the following
	files    http.Handler  // under /files/
	push     *push.Service // nil: none
	pushKey  string        // what browsers ask for to get notifications; "" for none
	demo     []byte        // what /demo.json tells; nil outside of demonstrations
	streams  streams
	telling
}

// streams is what is told to the event streams of people, and asked of them. What is nil is nobody's business.
type streams struct {
	end      func(aor, id, but, reason string)  // a session is over, or all of an account but one when id is ""
	online   func(aor, id string) bool          // whether a session has a stream open
	idle     func(id string, since time.Time)   // since when nobody has used the device of a session
	settings func(aor string)                   // somebody has changed settings
	typing   func(from, to string, active bool) // somebody writes, or has stopped
}

// buildBrowsers makes what people who sign in over HTTP need.
func (s *Server) buildBrowsers() error {
	s.sessions = session.New(session.Options{
		Store: signIns{s.store.sql.Sessions(), s.store, s.log}, Users: s.store,
		Passwords: doorman{s.auth, rate.NewBuckets[string](wrongPasswords, 1), s.log}, Domains: s.cfg.Domains, Canonical: s.directory.Canonical, Ended: s.sessionEnded,
		Lifetime: s.cfg.HTTP.SessionLifetime, Rate: s.cfg.HTTP.Rate, Log: s.log, Registerer: s.registry,
	})
	if err := s.buildPush(); err != nil {
		return err
	}
	o := setting.Options{Store: s.store.sql.PersonSettings(), Push: s.store.sql.PushSubscriptions(), Changed: s.settingsChanged}
	if s.push != nil {
		o.Pushed = s.push.Added
	}
	if !s.cfg.Push.AllowPrivate {
		o.Endpoint = push.Endpoint
	}
	s.settings = setting.New(o)
	_, err := bus.Subscribe(s.bus, func(e bus.SessionEnded) {
		if e.Node != s.node {
			s.sessions.Gone(e.AOR, e.Session)
			s.endStreams(e.AOR, e.Session, "", e.Reason)
		}
	})
	return err
}

// sessionEnded is told that a session is over, or all of an account but one. Of changes to accounts all nodes hear by themselves.
func (s *Server) sessionEnded(aor, id, but, reason string) {
	s.endStreams(aor, id, but, reason)
	if id != "" {
		bus.Publish(s.bus, bus.SessionEnded{AOR: aor, Session: id, Reason: reason, Node: s.node})
	}
}

// endStreams ends what is open under a session, or under all of an account but one.
func (s *Server) endStreams(aor, id, but, reason string) {
	if s.streams.end != nil {
		s.streams.end(aor, id, but, reason)
	}
}

// settingsChanged is told that somebody has changed settings.
func (s *Server) settingsChanged(aor string) {
	if s.streams.settings != nil {
		s.streams.settings(aor)
	}
}

// sessionReasons are the words for people whose sessions end because their account was changed.
var sessionReasons = map[directory.Change]string{
	directory.Disabled: "the account was disabled",
	directory.Removed:  "the account was removed",
	directory.Password: "the password was changed",
}

// apiOptions is all that the API speaks for, on the door and on the socket of the command line.
func (s *Server) apiOptions() api.Options {
	return s.tellingOptions(api.Options{
		Directory: s.directory, Contacts: s.contacts, Presence: s.presence, Archive: s.archive, Devices: devices{s.registrar}, Server: s,
		Sessions: s.sessions, Reach: reach{s}, Settings: s.settings, Files: s.file, Messages: s.message, Talks: s.store.talks, Idle: s.setIdle, Info: s.info, Log: s.log,
	})
}

// setIdle notes since when nobody has used the device of a session.
func (s *Server) setIdle(id string, since time.Time) {
	if s.streams.idle != nil {
		s.streams.idle(id, since)
	}
}

// info is what clients should know of this server.
func (s *Server) info() *v1.ServerInfo {
	return &v1.ServerInfo{Version: Version(), Domains: s.cfg.Domains, MaxMessage: int64(s.cfg.Limits.Body), MaxFile: s.fileLimit(), PushKey: s.pushKey, Now: timestamppb.Now()}
}

// reach implements api.Reach.
type reach struct{ s *Server }

func (r reach) Online(aor, id string) bool {
	return r.s.streams.online != nil && r.s.streams.online(aor, id)
}

func (r reach) EndDevice(aor, device string) bool {
	flows, any := r.s.registrar.RemoveDevice(aor, device)
	for _, f := range flows {
		f.Close("the device was signed out by its owner")
	}
	return any
}

// Proxy names the best listener that there is.
func (r reach) Proxy() string { return proxyAddress(r.s.cfg, r.s.transport.Addrs, r.s.demo != nil) }

// openDoor makes the handler of the door for browsers. Lines take its event streams.
func (s *Server) openDoor(secure bool, lines *api.Lines) http.Handler {
	o := s.apiOptions()
	o.Lines = lines
	return webdoor.New(webdoor.Options{
		API: api.Handler(o), Files: s.files, Web: web.Handler(),
		SIP:      func(secure bool) http.Handler { return s.transport.WebSocketHandler(secure, s.cfg.HTTP.Origins) },
		Sessions: s.sessions, Secure: secure, Strict: secure && s.cfg.HTTP.TLS != "auto", Origins: s.cfg.HTTP.Origins,
		Proxies: s.cfg.HTTP.TrustedProxies(), AtOnce: s.cfg.Limits.ConnectionsPerAddress,
		SignIns: s.cfg.HTTP.SignInRate, Demo: func() []byte { return s.demo }, Log: s.log,
	})
}
