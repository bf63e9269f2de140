// Package server builds all parts of Parley, and starts and stops them in order. It is the only package that
// knows them all.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/base/run"
	"github.com/parley-im/parley/bus"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/archive"
	"github.com/parley-im/parley/service/call"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/service/registrar"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/transport"
)

// grace is how long the parts have to stop; Ctrl-C ends the process within 5 seconds.
const grace = 4 * time.Second

// ErrInUse is wrapped when another server runs on the data folder.
var ErrInUse = store.ErrInUse

// Server is the whole of Parley.
type Server struct {
	cfg      *config.Config
	log      *slog.Logger
	node     string // this run of this node, in events
	registry *prometheus.Registry
	life

	store        *parts
	keys         *auth.Keys
	bus          *bus.Bus
	auth         *auth.Authenticator
	policy       *policy.Policy
	transport    *transport.Layer
	transactions *transaction.Layer
	home         *route.Home
	proxy        *route.Proxy
	mux          *route.Mux
	registrar    *registrar.Registrar
	reg          *dialog.Notifier
	message      *message.Service
	call         *call.Service
	directory    *directory.Service
	contacts     *contact.Service
	presence     *watching
	archive      *archive.Service
	browsers
	doors []*door
}

// life is when what happens to a server.
type life struct {
	started  time.Time
	ready    chan struct{} // closed when it answers
	stopping func() bool   // set before anything is received
}

// New builds a server and opens its sockets, so that a port in use is known at once; Serve runs it. ctx bounds the
// opening of the store. A server that is not served must be closed.
func New(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, log: log, node: id.New().String(), registry: prometheus.NewRegistry(), life: life{started: time.Now(), ready: make(chan struct{})}}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, build := range []func(context.Context) error{s.buildStore, s.buildIdentity, s.buildSIP, s.buildServices, s.buildDoors} {
		if err := build(ctx); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Close frees what New opened, for a server that is not served.
func (s *Server) Close() {
	for _, d := range s.doors {
		_ = d.listener.Close() // nothing was accepted
	}
	if s.transport != nil {
		s.transport.Close()
	}
	if s.bus != nil {
		s.bus.Close()
	}
	if s.store != nil {
		_ = s.store.sql.Close() // nothing was written
	}
}

// Ready is closed when the server answers.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs are the addresses of the listeners of a kind.
func (s *Server) Addrs(k transport.Kind) []string {
	var list []string
	for _, a := range s.transport.Addrs(k) {
		list = append(list, a.String())
	}
	return list
}

// HTTP is the address of the door for browsers, "" for none.
func (s *Server) HTTP() string { return s.door("http") }

// Metrics is the address of the door for monitoring, "" for none.
func (s *Server) Metrics() string { return s.door("metrics") }

func (s *Server) door(name string) string {
	for _, d := range s.doors {
		if d.name == name {
			return d.listener.Addr().String()
		}
	}
	return ""
}

// Serve runs the server until ctx ends. Each part outlives the parts above it.
func (s *Server) Serve(ctx context.Context) error {
	defer s.Close()
	g := run.New(s.log, grace)
	g.Add("memory", giveBack)
	g.Add("store", s.store.sql.Serve)
	g.Add("auth", s.auth.Serve)
	g.Add("transactions", s.transactions.Serve)
	g.Add("registrar", s.registrar.Serve)
	g.Add("sessions", s.sessions.Serve)
	g.Add("files", s.serveFiles)
	g.Add("message", s.message.Serve)
	g.Add("calls", s.serveCalls)
	g.Add("contacts", s.contacts.Serve)
	g.Add("presence", s.servePresence)
	g.Add("push", s.servePush)
	g.Add("feed", s.feed.Serve)
	g.Add("sip", s.serveSIP)
	for _, d := range s.doors {
		g.Add(d.name, d.serve)
	}
	g.Add("farewell", s.farewell)
	err := g.Serve(ctx)
	if err == nil {
		s.log.Info("parley: stopped", "after", time.Since(s.started).Round(time.Millisecond))
	}
	return err
}

// serveSIP takes requests once the registrar knows who was here. What was said is read while people sign in already: messages
// wait for that.
func (s *Server) serveSIP(ctx context.Context) error {
	if err := s.registrar.Load(ctx); err != nil {
		return err
	}
	if err := s.loadPresence(ctx); err != nil {
		return err
	}
	stopped := ctx
	s.stopping = func() bool { return stopped.Err() != nil }
	ctx, cancel := context.WithCancelCause(ctx)
	var loading sync.WaitGroup
	defer loading.Wait()
	defer cancel(nil)
	loading.Go(func() {
		if err := s.message.Load(ctx); err != nil {
			cancel(err)
		}
	})
	close(s.ready)
	if !message.Recording {
		s.log.Error("parley: messages are not recorded and are lost with this process: this build is for benchmarks alone")
	}
	s.greet()
	err := s.transport.Serve(ctx, s.transactions)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// serveCalls closes the records of calls from before the start, and at the end those of calls that go on.
func (s *Server) serveCalls(ctx context.Context) error {
	defer s.call.Interrupt()
	if err := s.call.Load(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// buildStore opens the data folder.
func (s *Server) buildStore(ctx context.Context) (err error) {
	s.store, err = openStore(ctx, s.cfg, s.log, s.registry)
	return err
}

// buildIdentity makes what says who people are, and what tells everyone when that changes.
func (s *Server) buildIdentity(ctx context.Context) error {
	var err error
	if s.keys, err = openKeys(ctx, s.cfg, s.store); err != nil {
		return err
	}
	if s.bus, err = bus.Open(bus.Options{Log: s.log}); err != nil {
		return err
	}
	listeners := map[string]auth.Policy{}
	for name := range s.cfg.SIP.Listener {
		listeners[name] = digestPolicy(s.cfg, name)
	}
	s.auth, err = auth.New(auth.Options{
		Domains: s.cfg.Domains, Users: s.store, Keys: s.keys, Default: digestPolicy(s.cfg, ""), Listeners: listeners,
		GRUUOwner: s.gruuOwner, IsLocal: s.isLocal, Failures: s.cfg.Limits.PasswordFailures, Log: s.log, Registerer: s.registry,
	})
	return err
}

func openKeys(ctx context.Context, cfg *config.Config, st store.Settings) (*auth.Keys, error) {
	folder := filepath.Join(cfg.Data, "keys")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "server: making the folder for keys")
	}
	return auth.OpenKeys(ctx, filepath.Join(folder, "master.key"), st)
}

func digestPolicy(cfg *config.Config, listener string) auth.Policy {
	names, legacy := cfg.SIP.DigestFor(listener)
	p := auth.Policy{RequireQOP: !legacy}
	for _, n := range names {
		if a, ok := auth.ParseAlgorithm(n); ok { // config has checked them
			p.Algorithms = append(p.Algorithms, a)
		}
	}
	return p
}

// Version is that of the build.
func Version() string {
	version := "development"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	if !message.Recording {
		version += " RELAY ONLY, A BUILD FOR BENCHMARKS: MESSAGES ARE NOT RECORDED"
	}
	return version
}

// door is an HTTP server on one listener.
type door struct {
	name     string
	listener net.Listener
	server   *http.Server
	lines    *api.Lines // event streams that are not the server's any more; nil: there are none
}

func (d *door) serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- d.server.Serve(d.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("server: %s: %w", d.name, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := d.server.Shutdown(stop); err != nil {
		_ = d.server.Close() // whoever is still there has had a second
	}
	if d.lines != nil {
		d.lines.Shutdown(stop)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
