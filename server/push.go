package server

import (
	"context"
	"fmt"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/service/push"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/webpush"
)

// buildPush makes what sends notifications to browsers in which no page is open.
func (s *Server) buildPush() error {
	if !s.cfg.Push.Enabled || s.cfg.HTTP.Listen == "" {
		return nil
	}
	key, err := pushKey(s.keys, "mailto:postmaster@"+s.cfg.Domains[0])
	if err != nil {
		return err
	}
	s.push = push.New(push.Options{
		Records: s.store.Log, Subscriptions: s.store.sql.PushSubscriptions(), Key: key, Private: s.cfg.Push.AllowPrivate, Log: s.log, Registerer: s.registry,
		Online: func(aor, id string) bool { return reach{s}.Online(aor, id) },
		Quiet:  func(owner, from string) bool { return s.presence.Quiet(owner, from) },
		Sender: func(ctx context.Context, r *store.Record) string {
			u, err := s.directory.Get(ctx, r.From)
			if err != nil {
				return "" // somebody of another server
			}
			return u.Name
		},
		Text: func(r *store.Record) string {
			c := content.Read(r)
			if c.Text == "" && c.File != nil {
				return c.File.Name
			}
			return c.Text
		},
	})
	s.pushKey = key.Public()
	return nil
}

// servePush sends notifications until ctx ends.
func (s *Server) servePush(ctx context.Context) error {
	if s.push == nil {
		<-ctx.Done()
		return nil
	}
	return s.push.Serve(ctx)
}

// pushKey is this server's key for push services: made from its master key, so that it is in every backup that is complete.
func pushKey(keys *auth.Keys, subject string) (*webpush.Sender, error) {
	var err error
	for i := range 4 { // one in 2^32 numbers is no key
		var key *webpush.Sender
		if key, err = webpush.NewSender(keys.Derive(fmt.Sprintf("web push %d", i)), subject); err == nil {
			return key, nil
		}
	}
	return nil, errs.Wrap(errs.Internal, err, "server: making the key for push services")
}
