package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// greet tells the log that the server answers, and what to open in a browser.
func (s *Server) greet() {
	s.log.Info("parley: ready", "version", Version(), "domains", s.cfg.Domains, "data", s.cfg.Data, "took", time.Since(s.started).Round(time.Millisecond))
	if listen := s.HTTP(); listen != "" {
		s.log.Info("parley: open "+pageAddress(s.cfg, listen)+" in a browser", "certificate", s.vouches())
	}
}

// vouches says whose certificate browsers see.
func (s *Server) vouches() string {
	switch c := s.cfg.HTTP.TLS; {
	case c == "auto":
		return "by this server's own authority, which devices trust once they have imported " + filepath.Join(s.cfg.Data, "tls", "ca.pem")
	case c != "off":
		return c
	case len(s.cfg.HTTP.Proxies) > 0:
		return "that of the proxy in front"
	default:
		return "none, it is plain HTTP: for this machine, or behind a proxy"
	}
}

// farewell is a part of the server that tells the log when it is asked to stop. It is the last one, and so the first to hear of it.
func (s *Server) farewell(ctx context.Context) error {
	<-ctx.Done()
	s.log.Info("parley: stopping")
	return nil
}

// FolderMissing tells whether there is no data folder at a path, or nothing in it: a server would be a new one there.
func FolderMissing(data string) bool {
	list, err := os.ReadDir(data)
	return errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0
}
