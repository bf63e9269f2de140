package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/run"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/service/archive"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/service/directory"
)

// maxSocketPath is what every system takes as the path of a Unix socket, in bytes.
const maxSocketPath = 100

// Socket is the path of the API's Unix socket for a data folder: in the folder, or in the temporary folder when that
// path would be too long.
func Socket(data string) string {
	path := filepath.Join(data, "parley.sock")
	abs, err := filepath.Abs(path)
	if err != nil || len(abs) <= maxSocketPath {
		return path
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join(os.TempDir(), "parley-"+hex.EncodeToString(sum[:8])+".sock")
}

// openSocket serves the API on the Unix socket, which only the server's own account may open. The caller holds the lock
// of the data folder, so a socket that is there was left by a crash.
func openSocket(data string, log *slog.Logger, o api.Options) (*door, error) {
	path := Socket(data)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(errs.Conflict, err, "server: removing the old socket")
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "server: opening the socket of the command line")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, errs.Wrap(errs.Internal, err, "server: protecting the socket")
	}
	o.Log = log
	d := newDoor("socket", l, api.Handler(o), log)
	d.server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return api.WithCaller(ctx, localName(c))
	}
	return d, nil
}

// localName is who opened a connection on this machine, for the record: "root@localhost".
func localName(c net.Conn) string {
	uid, ok := peerUID(c)
	if !ok {
		return "unknown@localhost"
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username + "@localhost"
	}
	return "uid-" + id + "@localhost"
}

// Administer runs f while the API is served on the socket of a data folder on which no server runs. Errors wrap ErrInUse
// when one does.
func Administer(ctx context.Context, cfg *config.Config, log *slog.Logger, f func() error) error {
	st, err := openStore(ctx, cfg, log, nil)
	if err != nil {
		return err
	}
	defer st.sql.Close()
	keys, err := openKeys(ctx, cfg, st)
	if err != nil {
		return err
	}
	d, err := openSocket(cfg.Data, log, api.Options{
		Directory: directory.New(directory.Options{Store: st, People: st.sql.People(), Keys: keys, Domains: cfg.Domains, Changed: func(string, directory.Change) {}}),
		Contacts:  contact.New(contact.Options{Store: st, Domains: cfg.Domains, Changed: func(contact.Change) {}}),
		Archive:   archive.New(st, contentOf(cfg.Data)),
		Server:    offline{cfg: cfg, store: st},
		Reach:     offline{cfg: cfg, store: st},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g := run.New(log, grace)
	g.Add("store", st.sql.Serve)
	g.Add("socket", d.serve)
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx) }()
	err = f()
	stop()
	return errors.Join(err, <-served)
}

// offline is the server that is not running.
type offline struct {
	cfg   *config.Config
	store *parts
}
