package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/server"
)

// startingUp is how long a server that holds the data folder is given to open its socket.
const startingUp = 3 * time.Second

// administer runs f with the API of the server that runs on the data folder, or, when none runs, of one in this
// process that does nothing else. There must be a data folder, or a database elsewhere.
func (a *app) administer(f func(*parley.Client) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if cfg.Store.URL == "" && server.FolderMissing(cfg.Data) && !running(cfg) {
		return errs.New(errs.NotFound, "there is no server in the data folder %s; name the server's configuration file with -c, or make a new server with parley serve or parley user add", absolute(cfg.Data))
	}
	return a.inFolder(cfg, f)
}

// begin is administer for what a new server begins with: it makes the data folder when there is none.
func (a *app) begin(f func(*parley.Client) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	missing := server.FolderMissing(cfg.Data)
	return a.inFolder(cfg, func(p *parley.Client) error {
		if missing {
			fmt.Fprintln(os.Stderr, "made a new data folder", absolute(cfg.Data))
		}
		return f(p)
	})
}

// absolute is a path that can be found from everywhere.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (a *app) inFolder(cfg *config.Config, f func(*parley.Client) error) (err error) {
	for deadline := time.Now().Add(startingUp); ; time.Sleep(100 * time.Millisecond) {
		if running(cfg) {
			return f(dial(cfg))
		}
		err = server.Administer(a.ctx, cfg, slog.New(slog.DiscardHandler), func() error { return f(dial(cfg)) })
		if !errors.Is(err, server.ErrInUse) || time.Now().After(deadline) {
			return err
		}
	}
}

// running runs f with the API of the running server only.
func (a *app) running(f func(*parley.Client) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if !running(cfg) {
		return errs.New(errs.Unavailable, "no server is running on the data folder %s; start it with parley serve", cfg.Data)
	}
	return f(dial(cfg))
}

func dial(cfg *config.Config) *parley.Client {
	return parley.Dial("unix:" + server.Socket(cfg.Data))
}

func running(cfg *config.Config) bool {
	c, err := net.Dial("unix", server.Socket(cfg.Data))
	if err != nil {
		return false
	}
	_ = c.Close() // only asked whether somebody listens
	return true
}
