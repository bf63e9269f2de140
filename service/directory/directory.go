// Package directory administers the people of this server: who has an account, under what name, with which
// passwords. Every act is a record in the log before it takes effect.
package directory

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// chunk is how many users are added in one transaction.
const chunk = 1000

// Store is where accounts and records are kept.
type Store interface {
	store.Users
	store.Log
}

// Options are what a Service is made of; all are required.
type Options struct {
	Store   Store
	People  store.People
	Keys    *auth.Keys
	Domains []string
	// Changed tells everyone that an account is not what it was: sessions of a disabled or removed user end,
	// caches forget. On this node all that is done when it returns, and only then does the act that caused it. It must
	// not wait for anything.
	Changed func(aor string, c Change)
}

// Change says what happened to an account.
type Change string

// The changes.
const (
	Added     Change = "added"
	Password  Change = "password"
	Disabled  Change = "disabled"
	Enabled   Change = "enabled"
	Removed   Change = "removed"
	NewDevice Change = "device password added"
	Revoked   Change = "device password revoked"
	Described Change = "described" // name or what else is told of the person
)

// Actor is who acts, for the record.
type Actor struct {
	Name  string // AOR, or the name of the system account
	Via   string // "cli", "api"
	Admin bool   // what each user may do, too, asks for it: FindPeople
}

// Service is the one way to change accounts.
type Service struct{ o Options }

// New makes a service.
func New(o Options) *Service { return &Service{o: o} }

// NewUser is an account to be added.
type NewUser struct {
	AOR      string
	Name     string
	Password string
	Admin    bool
	Person   store.Person
}

// Add adds users. When one of them cannot be added, none is; only when the store fails in the middle of a long list may
// the first thousands be there. Errors name the user and say what to do. It returns how many were added.
func (s *Service) Add(ctx context.Context, by Actor, users []NewUser) (int, error) {
	rows, err := s.prepare(users)
	if err != nil {
		return 0, err
	}
	if err := s.free(ctx, rows); err != nil {
		return 0, err
	}
	added := 0
	for len(rows) > 0 {
		part := rows[:min(chunk, len(rows))]
		rows = rows[len(part):]
		if err := s.record(ctx, by, "user.add", aors(part), ""); err != nil {
			return added, err
		}
		if err := s.o.Store.AddUsers(ctx, part); err != nil {
			return added, errs.Wrap(errs.KindOf(err), err, fmt.Sprintf("directory: %d of %d users were added", added, added+len(part)+len(rows)))
		}
		added += len(part)
		for i := range part {
			s.o.Changed(part[i].AOR, Added)
		}
	}
	return added, nil
}

// named is how many users that exist already an error names.
const named = 5

// free checks that none of the addresses is taken, before the log says that they are added.
func (s *Service) free(ctx context.Context, rows []store.User) error {
	var taken []string
	for i := range rows {
		_, err := s.o.Store.User(ctx, rows[i].AOR)
		switch {
		case err == nil:
			taken = append(taken, rows[i].AOR)
		case errs.KindOf(err) != errs.NotFound:
			return errs.Wrap(errs.KindOf(err), err, "directory: looking for users that exist already")
		}
		if len(taken) > named {
			return errs.New(errs.Conflict, "directory: there are already users %s and others; nobody was added", strings.Join(taken[:named], ", "))
		}
	}
	switch len(taken) {
	case 0:
		return nil
	case 1:
		return errs.New(errs.Conflict, "directory: there is already a user %s%s", taken[0], map[bool]string{true: "; nobody was added"}[len(rows) > 1])
	}
	return errs.New(errs.Conflict, "directory: there are already users %s; nobody was added", strings.Join(taken, ", "))
}

// eager is up to how many users at a time the argon2id form of the password, which is slow on purpose, is made at
// once. A larger import leaves it out: no door asks for it yet, and the sealed digest value can be checked instead.
const eager = 10

// prepare checks all users before any is added.
func (s *Service) prepare(users []NewUser) ([]store.User, error) {
	rows := make([]store.User, 0, len(users))
	seen := make(map[string]bool, len(users))
	for _, u := range users {
		aor, err := s.Canonical(u.AOR)
		if err != nil {
			return nil, err
		}
		if seen[aor] {
			return nil, errs.New(errs.Invalid, "directory: %s is listed twice", aor)
		}
		seen[aor] = true
		name, err := label("name", u.Name)
		if err != nil {
			return nil, err
		}
		row := store.User{AOR: aor, Name: name, Admin: u.Admin, Person: u.Person}
		if err := checkPerson(&row.Person); err != nil {
			return nil, err
		}
		if err := s.seal(&row, u.Password, len(users) <= eager); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (s *Service) seal(row *store.User, password string, hash bool) error {
	if err := auth.CheckPassword(password); err != nil {
		return errs.Say(errs.Wrap(errs.Invalid, err, "directory: password of "+row.AOR),
			"the password of "+row.AOR+" cannot be used: "+strings.TrimPrefix(err.Error(), auth.ErrPassword.Error()+": "))
	}
	var err error
	row.HA1MD5, row.HA1SHA256, err = s.o.Keys.SealHA1(row.AOR, password)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "directory: sealing the password of "+row.AOR)
	}
	row.Password = ""
	if hash {
		row.Password, err = auth.HashPassword(password)
	}
	return err
}

// Limits of what is said of a user, in bytes.
const (
	maxAddress = sip.MaxAOR
	maxName    = 255
)

// Canonical checks an address and returns it in the form in which it is kept: "user@domain", the domain in lower case,
// escapes only where SIP needs them. "sip:" in front is allowed.
func (s *Service) Canonical(address string) (string, error) {
	text := strings.TrimSpace(address)
	if scheme, rest, ok := strings.Cut(text, ":"); ok && strings.EqualFold(scheme, "sip") {
		text = rest
	}
	aor, err := sip.ParseAOR(text)
	if err != nil || strings.ContainsAny(text, ";?:/") {
		return "", errs.New(errs.Invalid, "directory: %q is not an address; write it as alice@%s", shorten(address), s.o.Domains[0])
	}
	_, domain, _ := strings.Cut(aor, "@")
	if !slices.ContainsFunc(s.o.Domains, func(d string) bool { return strings.EqualFold(d, domain) }) {
		return "", errs.New(errs.Invalid, "directory: %s is not in a domain of this server (%s); use one of these, or add the domain to domains in the configuration",
			aor, strings.Join(s.o.Domains, ", "))
	}
	return aor, nil
}

// shorten keeps an error readable whatever was given.
func shorten(text string) string {
	if len(text) > maxAddress {
		return strings.ToValidUTF8(text[:maxAddress], "") + "…"
	}
	return text
}

// label checks a name that is shown to people.
func label(what, text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxName || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", errs.New(errs.Invalid, "directory: the %s %q is longer than %d bytes or holds characters that cannot be shown", what, shorten(text), maxName)
	}
	return text, nil
}

// Get returns one account.
func (s *Service) Get(ctx context.Context, address string) (*store.User, error) {
	aor, err := s.Canonical(address)
	if err != nil {
		return nil, err
	}
	u, err := s.o.Store.User(ctx, aor)
	if err != nil {
		return nil, missing(err, aor)
	}
	return u, nil
}

// List returns accounts in the order of their addresses.
func (s *Service) List(ctx context.Context, f store.UserFilter) ([]store.User, error) {
	return s.o.Store.Users(ctx, f)
}

// SetPassword replaces the account's password; everybody signed in with the old one must sign in again.
func (s *Service) SetPassword(ctx context.Context, by Actor, address, password string) error {
	return s.change(ctx, by, address, "user.passwd", Password, func(u *store.User) error { return s.seal(u, password, true) })
}

// SetDisabled closes or opens an account. Closing ends all its sessions at once.
func (s *Service) SetDisabled(ctx context.Context, by Actor, address string, disabled bool) error {
	action, c := "user.enable", Enabled
	if disabled {
		action, c = "user.disable", Disabled
	}
	return s.change(ctx, by, address, action, c, func(u *store.User) error {
		u.Disabled = disabled
		return nil
	})
}

// Remove removes an account and all it has but its records.
func (s *Service) Remove(ctx context.Context, by Actor, address string) error {
	u, err := s.Get(ctx, address)
	if err != nil {
		return err
	}
	if err := s.record(ctx, by, "user.remove", []string{u.AOR}, ""); err != nil {
		return err
	}
	if err := s.o.Store.RemoveUser(ctx, u.AOR); err != nil {
		return missing(err, u.AOR)
	}
	s.o.Changed(u.AOR, Removed)
	return nil
}

func (s *Service) change(ctx context.Context, by Actor, address, action string, c Change, edit func(*store.User) error) error {
	u, err := s.Get(ctx, address)
	if err != nil {
		return err
	}
	if err := edit(u); err != nil {
		return err
	}
	if err := s.record(ctx, by, action, []string{u.AOR}, ""); err != nil {
		return err
	}
	if err := s.o.Store.UpdateUser(ctx, *u); err != nil {
		return missing(err, u.AOR)
	}
	s.o.Changed(u.AOR, c)
	return nil
}

// AddDevice makes a password for one device, which is shown this once.
func (s *Service) AddDevice(ctx context.Context, by Actor, address, description string) (store.DevicePassword, string, error) {
	u, err := s.Get(ctx, address)
	if err != nil {
		return store.DevicePassword{}, "", err
	}
	if description, err = label("label", description); err != nil {
		return store.DevicePassword{}, "", err
	}
	password := auth.NewDevicePassword()
	md5, sha, err := s.o.Keys.SealHA1(u.AOR, password)
	if err != nil {
		return store.DevicePassword{}, "", errs.Wrap(errs.Internal, err, "directory: sealing a device password")
	}
	d := store.DevicePassword{ID: newDeviceID(), AOR: u.AOR, Label: description, HA1MD5: md5, HA1SHA256: sha, Created: time.Now().UTC()}
	if err := s.record(ctx, by, "device.add", []string{u.AOR}, d.ID); err != nil {
		return store.DevicePassword{}, "", err
	}
	if err := s.o.Store.AddDevicePassword(ctx, d); err != nil {
		return store.DevicePassword{}, "", missing(err, u.AOR)
	}
	s.o.Changed(u.AOR, NewDevice)
	return d, password, nil
}

// Devices lists the device passwords of an account.
func (s *Service) Devices(ctx context.Context, address string) ([]store.DevicePassword, error) {
	u, err := s.Get(ctx, address)
	if err != nil {
		return nil, err
	}
	return s.o.Store.DevicePasswords(ctx, u.AOR)
}

// RevokeDevice ends one device password; the others go on.
func (s *Service) RevokeDevice(ctx context.Context, by Actor, address, deviceID string) error {
	u, err := s.Get(ctx, address)
	if err != nil {
		return err
	}
	have, err := s.o.Store.DevicePasswords(ctx, u.AOR)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(have, func(d store.DevicePassword) bool { return d.ID == deviceID }) {
		return errs.New(errs.NotFound, "directory: %s has no device password %q; parley user show %s lists them", u.AOR, shorten(deviceID), u.AOR)
	}
	if err := s.record(ctx, by, "device.revoke", []string{u.AOR}, deviceID); err != nil {
		return err
	}
	if err := s.o.Store.RevokeDevicePassword(ctx, u.AOR, deviceID); err != nil {
		return err
	}
	s.o.Changed(u.AOR, Revoked)
	return nil
}

// EndSession ends a session of an account over HTTP: end does it, once the act is recorded.
func (s *Service) EndSession(ctx context.Context, by Actor, aor, id string, end func() error) error {
	if err := s.record(ctx, by, "session.end", []string{aor}, id); err != nil {
		return err
	}
	return end()
}

func newDeviceID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// A list of users is recorded with patience: what was refused is tried again, so that neither a disk that stalls for a
// moment nor one that is slow ends a long import. Attempts that recorded nothing are counted.
const (
	attempts = 10
	pause    = 300 * time.Millisecond
)

// record appends one administrative act for each account and waits until all are durable.
func (s *Service) record(ctx context.Context, by Actor, action string, concerned []string, device string) error {
	for attempt, many := 1, len(concerned) > 1; ; attempt++ {
		refused, err := s.tryRecord(ctx, by, action, concerned, device)
		if err == nil {
			return nil
		}
		if len(refused) < len(concerned) {
			attempt = 0
		}
		if !many || attempt == attempts || len(refused) == 0 || !errs.KindOf(err).Temporary() {
			return errs.Say(errs.Wrap(errs.KindOf(err), err, "directory: recording "+action), "nothing was changed, because it could not be recorded; try again")
		}
		concerned = refused
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryRecord returns those whose record was refused.
func (s *Service) tryRecord(ctx context.Context, by Actor, action string, concerned []string, device string) (refused []string, failed error) {
	type result struct {
		aor string
		err error
	}
	done := make(chan result, len(concerned))
	for _, aor := range concerned {
		r := &store.Record{Kind: store.KindAdmin, From: by.Name, To: aor, Device: device, Meta: map[string]string{
			store.MetaAction: action, store.MetaVia: by.Via,
		}}
		s.o.Store.Append(r, func(err error) { done <- result{aor, err} })
	}
	for range concerned {
		select {
		case res := <-done:
			if res.err != nil {
				refused, failed = append(refused, res.aor), res.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return refused, failed
}

func aors(users []store.User) []string {
	list := make([]string, len(users))
	for i := range users {
		list[i] = users[i].AOR
	}
	return list
}

func missing(err error, aor string) error {
	if errs.KindOf(err) == errs.NotFound {
		return errs.Say(err, "there is no user "+aor+"; parley user list shows who there is")
	}
	return err
}
