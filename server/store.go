package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"log/slog"
	"os"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

// accounts has its name so that parts can embed it beside a method Users.
type accounts interface{ store.Users }

// talks is the same beside a method Talks.
type talks interface{ store.Talks }

// parts is the whole store as one value, of which each service sees the interfaces that it asks for.
type parts struct {
	store.Log
	store.Index
	accounts
	store.Bindings
	store.Cursors
	store.Settings
	store.Contacts
	talks
	sql *sqlstore.Store
}

// openStore opens the data folder and makes it on the first start.
func openStore(ctx context.Context, cfg *config.Config, log *slog.Logger, reg prometheus.Registerer) (*parts, error) {
	missing := FolderMissing(cfg.Data)
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, errs.New(errs.Invalid, "server: the data folder %s cannot be made: %w; name another with data = \"…\"", cfg.Data, err)
	}
	st, err := sqlstore.Open(ctx, sqlstore.Options{Dir: cfg.Data, URL: cfg.Store.URL, Log: log, Registerer: reg, Text: message.Text})
	if err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "server: opening the store")
	}
	if missing {
		log.Info("parley: made a new data folder", "data", cfg.Data)
	}
	return &parts{st.Log(), st.Index(), st.Users(), st.Bindings(), st.Cursors(), st.Settings(), st.Contacts(), st.Talks(), st}, nil
}
