package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/parley-im/parley/api"
	webdoor "github.com/parley-im/parley/api/door"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/transport/idle"
)

// headerWithin bounds how long a client may take over the head of an HTTP request. Streams must not be cut, so there
// is no limit on the answer.
const headerWithin = 10 * time.Second

// Bounds of a connection to a door: between two requests, and the head of one in bytes.
const (
	idleWithin = 2 * time.Minute
	maxHead    = 32 << 10
)

// buildDoors opens the listeners that are not SIP: browsers, monitoring, and the socket of the command line.
func (s *Server) buildDoors(context.Context) error {
	if err := s.openHTTP(); err != nil {
		return err
	}
	if err := s.openMetrics(); err != nil {
		return err
	}
	d, err := openSocket(s.cfg.Data, s.log, s.apiOptions())
	if err != nil {
		return err
	}
	s.doors = append(s.doors, d)
	return nil
}

func (s *Server) openHTTP() error {
	if s.cfg.HTTP.Listen == "" {
		return nil
	}
	l, err := listen("http.listen", s.cfg.HTTP.Listen)
	if err != nil {
		return err
	}
	secure := s.cfg.HTTP.TLS != "off"
	if secure {
		c, err := s.tls("http.tls", s.cfg.HTTP.TLS, s.cfg.HTTP.Key)
		if err != nil {
			_ = l.Close()
			return err
		}
		// Browsers open a connection of its own, over HTTP/1.1, for a WebSocket, which takes it over. For all else they have six at
		// most without HTTP/2, of which each page that listens to events takes one.
		c.NextProtos = []string{"h2", "http/1.1"}
		l = tls.NewListener(transport.Listener(l), c)
	}
	lines := &api.Lines{Await: idle.Await, Log: s.log}
	d := newDoor("http", l, s.openDoor(secure, lines), s.log)
	d.lines = lines
	d.server.ConnState = webdoor.NewConnections(s.cfg.Limits.Connections, s.cfg.Limits.ConnectionsPerAddress, s.cfg.HTTP.TrustedProxies(), s.registry).State
	d.server.RegisterOnShutdown(s.feed.Stop) // streams do not end by themselves
	s.doors = append(s.doors, d)
	return nil
}

func (s *Server) openMetrics() error {
	if s.cfg.Metrics.Listen == "" {
		return nil
	}
	l, err := listen("metrics.listen", s.cfg.Metrics.Listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /ready", s.serveReady)
	s.doors = append(s.doors, newDoor("metrics", l, mux, s.log))
	return nil
}

// serveReady says whether the server can record, which is what it needs to do anything.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-s.ready:
	default:
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	if err := s.store.sql.Healthy(); err != nil {
		http.Error(w, "the log cannot be written: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func newDoor(name string, l net.Listener, h http.Handler, log *slog.Logger) *door {
	return &door{name: name, listener: l, server: &http.Server{
		Handler: h, ReadHeaderTimeout: headerWithin, IdleTimeout: idleWithin, MaxHeaderBytes: maxHead,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// listen opens a TCP listener; the error says which key to change.
func listen(key, address string) (net.Listener, error) {
	network := "tcp"
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		network = "tcp4" // Go would take 0.0.0.0 for all of IPv6 as well
	}
	lc := net.ListenConfig{Control: giveUpUnheard}
	l, err := lc.Listen(context.Background(), network, address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, errs.New(errs.Conflict, "server: %s = %q: another program uses this port; stop it, or choose another port", key, address)
	case err != nil:
		return nil, errs.New(errs.Invalid, "server: %s = %q cannot be opened: %w", key, address, err)
	}
	return l, nil
}

// tls is the TLS configuration for a certificate "auto", "off" or in a file; name is the key of the configuration.
func (s *Server) tls(name, certificate, key string) (*tls.Config, error) {
	names := ownNames(s.cfg.Domains, s.cfg.SIP.Advertise)
	load := authority{folder: filepath.Join(s.cfg.Data, "tls"), names: names}.certificate
	switch certificate {
	case "auto":
	case "off":
		return nil, nil
	default:
		load = fromFiles(certificate, key, name[:strings.IndexByte(name, '.')]+".key", names)
	}
	c, err := newCertificate(load)
	if err != nil {
		return nil, errs.New(errs.KindOf(err), "server: %s: %s", name, strings.TrimPrefix(err.Error(), "server: "))
	}
	return c.config(), nil
}
