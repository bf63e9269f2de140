package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/service/file"
	"github.com/parley-im/parley/store/blobs"
	"github.com/parley-im/parley/wire/pidf"
)

// filesFolder of the data folder has what is in files.
const filesFolder = "files"

// buildFiles makes what keeps files. It is made before the message service, which asks it.
func (s *Server) buildFiles() error {
	if s.cfg.Files.MaxSize == 0 {
		return nil
	}
	folder, err := blobs.Open(filepath.Join(s.cfg.Data, filesFolder))
	if err != nil {
		return err
	}
	s.file, err = file.New(file.Options{
		Files: s.store.sql.Files(), Blobs: folder, Users: s.store, Log: s.store.Index, About: s.store.sql.Talks().About, Head: s.store.Head,
		Key:    s.keys.Derive("files"),
		SignIn: s.signInOverHTTP, Lines: s.linesOf, Address: fileAddress(s.cfg),
		MaxSize: int64(s.cfg.Files.MaxSize), Keep: s.cfg.Files.Keep, Types: s.cfg.Files.Types, Logger: s.log, Registerer: s.registry,
	})
	if err != nil {
		return errs.Wrap(errs.KindOf(err), err, "server: files.types")
	}
	s.files = s.file.Handler(func(r *http.Request) (string, bool) {
		aor := api.CallerOf(r.Context()).AOR
		return aor, aor != ""
	})
	return nil
}

// serveFiles runs what keeps files.
func (s *Server) serveFiles(ctx context.Context) error {
	if s.file == nil {
		<-ctx.Done()
		return nil
	}
	return s.file.Serve(ctx)
}

// fileAddress is where SIP clients, which know nothing of the page, fetch files. A proxy that is known, and does TLS, does it at the
// usual port.
func fileAddress(c *config.Config) string { return pageAddress(c, c.HTTP.Listen) }

// pageAddress is where browsers find the page when the door listens at an address; "" when there is no door.
func pageAddress(c *config.Config, listen string) string {
	if c.Files.URL != "" || listen == "" {
		return c.Files.URL
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil { // config has checked it
		return ""
	}
	outside := c.HTTP.TLS == "off" && len(c.HTTP.Proxies) > 0 // what listens here is not what clients reach
	if c.SIP.Advertise != "" {
		host = c.SIP.Advertise
	} else if a, err := netip.ParseAddr(host); err != nil || a.IsUnspecified() || outside {
		host = c.Domains[0]
	}
	scheme, usual := "https", "443"
	if outside {
		port = usual
	} else if c.HTTP.TLS == "off" {
		scheme, usual = "http", "80"
	}
	address := scheme + "://" + net.JoinHostPort(host, port)
	if port == usual {
		address = strings.TrimSuffix(address, ":"+port)
	}
	return address
}

// signInOverHTTP asks a SIP client that uploads a file for its password. Which door it came by is all that the address says.
func (s *Server) signInOverHTTP(r *http.Request) auth.Result {
	from, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero value is an address as well
	answer := make(chan auth.Result, 1)
	s.auth.AuthenticateHTTP(auth.HTTPRequest{Method: r.Method, URI: r.RequestURI, Authorization: r.Header.Values("Authorization"), From: r.Header.Get("From")},
		auth.Source{Listener: s.cfg.WebSocketListener(), Kind: "http", Addr: from}, func(a auth.Result) { answer <- a })
	select {
	case a := <-answer:
		return a
	case <-r.Context().Done():
		return auth.Result{Status: http.StatusServiceUnavailable}
	}
}

// rates are what the classes of lines carry about, in bytes per second.
var rates = map[pidf.Throughput]int64{pidf.Slow: 128_000 / 8, pidf.Medium: 1_000_000 / 8, pidf.Fast: 10_000_000 / 8}

// linesOf are the lines of somebody's devices, as far as somebody else may know that they are there.
func (s *Server) linesOf(_ context.Context, from, aor string) []file.Line {
	if from != aor && s.presence.Hidden(aor, from) {
		return nil
	}
	var list []file.Line
	seen := map[string]bool{}
	for _, b := range s.registrar.Bindings(aor) {
		if d, ok := s.presence.Device(aor, b.Device); ok && !seen[b.Device] {
			seen[b.Device] = true
			list = append(list, file.Line{Slow: d.Slow(), Rate: rates[d.Line.Throughput]})
		}
	}
	for range s.sessionDevices(aor) {
		list = append(list, file.Line{}) // of pages nothing is known, so they are not slow
	}
	return list
}

// fileLimit is how large a file may be in bytes, 0 when there are none.
func (s *Server) fileLimit() int64 { return int64(s.cfg.Files.MaxSize) }
