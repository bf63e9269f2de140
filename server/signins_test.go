package server

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// Whoever signs in is on record before, and every end of a session is: also of those that nobody ended.
func TestSessionsAreRecorded(t *testing.T) {
	r := start(t)
	log := &lockedBuffer{}
	s := signIns{r.store.sql.Sessions(), r.store, slog.New(slog.NewTextHandler(log, nil))}
	alice, err := r.store.User(r.ctx, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	before := r.store.Head()
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i := range 3 {
		v := store.Session{ID: fmt.Sprintf("session%d", i), AOR: alice.AOR, Token: [32]byte{byte(i)}, Label: "browser", Class: "desktop", Address: "192.0.2.1",
			Created: now.Add(time.Duration(i) * time.Second), Seen: now.Add(time.Duration(i) * time.Second), Expires: now.Add(time.Hour)}
		if _, err := s.AddSession(r.ctx, v, alice, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RemoveSession(r.ctx, alice.AOR, "session1"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveSession(r.ctx, alice.AOR, "session9"); !errors.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if over, err := s.SweepSessions(r.ctx, now.Add(2*time.Hour)); len(over) != 1 || err != nil {
		t.Error(over, err)
	}
	// An account that was closed meanwhile: nobody has signed in, and the record says so.
	if _, err := s.AddSession(r.ctx, store.Session{ID: "late", AOR: "gone@example.com", Created: now, Seen: now, Expires: now.Add(time.Hour)}, &store.User{AOR: "gone@example.com"}, 2); err == nil {
		t.Error("a session of nobody")
	}
	// A session that goes on after its owner has changed the password has not signed in again.
	own := store.Session{ID: "own", AOR: alice.AOR, Token: [32]byte{9}, Created: now, Seen: now, Expires: now.Add(time.Hour)}
	if _, err := s.AddSession(api.WithSession(r.ctx, api.Caller{AOR: alice.AOR, Session: own.ID}), own, alice, 2); err != nil {
		t.Error(err)
	}
	records, err := r.store.Read(r.ctx, before, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range records {
		rec := &records[i]
		if rec.Kind != store.KindSession || rec.From != alice.AOR && rec.To != alice.AOR && rec.From != "gone@example.com" {
			t.Errorf("%+v", rec)
		}
		got = append(got, rec.MetaValue(store.MetaAction)+" "+rec.Device+" "+rec.MetaValue(metaLabel)+" "+rec.MetaValue(store.MetaReason))
	}
	want := []string{"sign-in web:session0 browser ", "sign-in web:session1 browser ", "sign-in web:session2 browser ",
		"sign-out web:session0  too many other devices have signed in since", "sign-out web:session1 browser ended by an administrator",
		"sign-out web:session2 browser not used for too long", "sign-in web:late  ", "sign-out web:late  the session could not be begun"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Without a record nobody signs in.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddSession(r.ctx, store.Session{ID: "never", AOR: alice.AOR}, alice, 2); err == nil || !strings.Contains(errs.Reason(err), "could not be recorded") {
		t.Error(err)
	}
}
