package server

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/rate"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/store"
)

// What records of kind store.KindSession hold beside store.MetaReason and store.MetaVia. They are from the account, or from whoever
// else ended the session and to the account.
const (
	signIn      = "sign-in" // store.MetaAction
	signOut     = "sign-out"
	metaAddress = "address" // from where, without a port
	metaLabel   = "label"   // what the device is called: "Firefox on Linux"
	metaClass   = "class"   // desktop, phone or tablet
)

// endsTogether is how many ends of sessions wait for the log at a time.
const endsTogether = 100

// signIns stands between the sessions and their store, and puts on record who signed in, on what, from where, and until when.
// Whoever cannot be recorded cannot sign in. Changes to accounts, which end sessions as well, are on record themselves.
type signIns struct {
	store.Sessions
	record store.Log
	log    *slog.Logger
}

// AddSession implements store.Sessions.
func (s signIns) AddSession(ctx context.Context, v store.Session, as *store.User, most int) ([]string, error) {
	if api.CallerOf(ctx).Session == v.ID { // it goes on after its owner has changed the password, which is on record
		return s.Sessions.AddSession(ctx, v, as, most)
	}
	r := sessionRecord(&v, signIn)
	r.From = v.AOR
	if err := s.append(ctx, r); err != nil {
		return nil, errs.Say(errs.Wrap(errs.KindOf(err), err, "server: recording a sign-in"), "nobody can sign in at the moment, because it could not be recorded; try again")
	}
	ended, err := s.Sessions.AddSession(ctx, v, as, most)
	if err != nil {
		out := sessionRecord(&v, signOut)
		out.From, out.Meta[store.MetaReason] = v.AOR, "the session could not be begun"
		s.ended(ctx, []*store.Record{out})
		return nil, err
	}
	s.log.Info("signed in", "aor", v.AOR, "device", v.Label, "id", session.Device(v.ID), "peer", v.Address)
	records := make([]*store.Record, len(ended))
	for i, id := range ended {
		records[i] = sessionRecord(&store.Session{ID: id}, signOut)
		records[i].From = v.AOR
		records[i].Meta[store.MetaReason] = "too many other devices have signed in since"
	}
	s.ended(ctx, records)
	return ended, nil
}

// RemoveSession implements store.Sessions. What cannot be recorded ends nevertheless: nobody is kept signed in for that.
func (s signIns) RemoveSession(ctx context.Context, aor, id string) error {
	list, err := s.SessionsOf(ctx, aor)
	if err != nil {
		return err
	}
	if err := s.Sessions.RemoveSession(ctx, aor, id); err != nil {
		return err
	}
	for i := range list {
		if v := &list[i]; v.ID == id {
			r := sessionRecord(v, signOut)
			r.From, r.Meta[store.MetaReason] = aor, "signed out"
			if c := api.CallerOf(ctx); c.AOR != aor {
				r.From, r.To, r.Meta[store.MetaReason] = api.NameOf(ctx), aor, "ended by an administrator"
			} else if c.Session != id {
				r.Meta[store.MetaReason] = "ended on another device"
			}
			s.ended(ctx, []*store.Record{r})
		}
	}
	return nil
}

// SweepSessions implements store.Sessions.
func (s signIns) SweepSessions(ctx context.Context, now time.Time) ([]store.Session, error) {
	over, err := s.Sessions.SweepSessions(ctx, now)
	records := make([]*store.Record, len(over))
	for i := range over {
		records[i] = sessionRecord(&over[i], signOut)
		records[i].From, records[i].Meta[store.MetaReason] = over[i].AOR, "not used for too long"
	}
	s.ended(ctx, records)
	return over, err
}

// sessionRecord is the record of what happened to a session.
func sessionRecord(v *store.Session, action string) *store.Record {
	r := &store.Record{Kind: store.KindSession, Device: session.Device(v.ID), Meta: map[string]string{store.MetaAction: action, store.MetaVia: "api"}}
	for key, value := range map[string]string{metaAddress: v.Address, metaLabel: v.Label, metaClass: v.Class} {
		if value != "" {
			r.Meta[key] = value
		}
	}
	return r
}

// ended records the ends of sessions, some at a time.
func (s signIns) ended(ctx context.Context, records []*store.Record) {
	ctx = context.WithoutCancel(ctx) // they have ended; the log answers in time, also when it cannot record
	for len(records) > 0 {
		some := records[:min(endsTogether, len(records))]
		records = records[len(some):]
		if err := s.append(ctx, some...); err != nil {
			s.log.Warn("the end of sessions is not on record", "sessions", len(some)+len(records), "err", err)
			return
		}
	}
}

// append waits until all of some records are in the log, and returns the last error.
func (s signIns) append(ctx context.Context, records ...*store.Record) (failed error) {
	done := make(chan error, len(records))
	for _, r := range records {
		s.record.Append(r, func(err error) { done <- err })
	}
	for range records {
		select {
		case err := <-done:
			if err != nil {
				failed = err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failed
}

// wrongPasswords is how many wrong passwords are told to the log: some at once, then one in ten seconds. Attacks are counted in the
// metrics, and whoever is locked out is told for itself.
var wrongPasswords = rate.Limit{Per: 0.1, Most: 10}

// doorman is an auth.Authenticator that tells the log whom it did not let in.
type doorman struct {
	*auth.Authenticator
	told *rate.Buckets[string]
	log  *slog.Logger
}

// Password implements session.Passwords.
func (d doorman) Password(ctx context.Context, aor string, from netip.Addr, password string) (*store.User, error) {
	u, err := d.Authenticator.Password(ctx, aor, from, password)
	if kind := errs.KindOf(err); err != nil && (kind == errs.Unauthorized || kind == errs.Forbidden) && d.told.Take("", time.Now()) {
		if len(aor) > 100 {
			aor = strings.ToValidUTF8(aor[:100], "") + "…"
		}
		d.log.Warn("not signed in", "aor", aor, "peer", from.String(), "why", errs.Reason(err))
	}
	return u, err
}
