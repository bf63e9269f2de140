// Package session signs people in over HTTP: with the password of their account they get a secret, the token, by which every
// further request is known. A session is one of a person's devices.
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/rate"
	"github.com/parley-im/parley/store"
)

// Limits.
const (
	MaxSessions = 50          // of one account; the one that was not used for longest ends
	MaxLabel    = 100         // bytes of what a device is called
	believed    = time.Minute // how long a cached session is believed; changes elsewhere are announced, and announcements may be lost
	maxCached   = 200_000
	tokenBytes  = 32
	idLength    = 16
	deviceName  = 12 // characters of the id that name the device in records
)

// Passwords checks the password of an account. auth.Authenticator has it.
type Passwords interface {
	Password(ctx context.Context, aor string, from netip.Addr, password string) (*store.User, error)
}

// Users finds accounts.
type Users interface {
	User(ctx context.Context, aor string) (*store.User, error)
}

// Options are what a Service is made of. All but Rate, Now, Log and Registerer are required.
type Options struct {
	Store     store.Sessions
	Users     Users
	Passwords Passwords
	Domains   []string // the first is meant when an address has none and there is no other
	// Canonical is an address as accounts have it.
	Canonical func(address string) (string, error)
	// Ended is told when a session is over, by its id, or all of an account but one ("" for none) when id is "". It does not wait.
	Ended      func(aor, id, but, reason string)
	Lifetime   time.Duration // of a session that is not used
	Rate       int           // calls that a session may make in a second, four times as many at once; 0: no limit
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Session is somebody who has signed in.
type Session struct {
	store.Session
	Name  string // of the account
	Admin bool
}

// Device is what a session is called in records.
func (s *Session) Device() string { return Device(s.ID) }

// Device is what the session with an id is called in records.
func Device(id string) string { return "web:" + id[:min(deviceName, len(id))] }

// Service knows who is signed in. It is safe for concurrent use.
type Service struct {
	o       Options
	metrics *metrics

	mu     sync.Mutex // guards what follows
	byHash map[[32]byte]*entry
	byID   map[string]*entry
	people map[string]map[*entry]bool
	keep   map[string]string // the session that goes on while its owner changes the password
	gen    uint64            // counts what ends sessions, so that none is cached that was read before
}

// entry is a session in the cache.
type entry struct {
	Session
	read    time.Time // when it was read from the store
	written time.Time // when its use was written
	used    bool      // since then
	bucket  rate.Bucket
}

// New makes a Service. Serve writes what is noted meanwhile.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{o: o, byHash: map[[32]byte]*entry{}, byID: map[string]*entry{}, people: map[string]map[*entry]bool{}, keep: map[string]string{}}
	s.metrics = newMetrics(o.Registerer, s)
	return s
}

// SignIn is what somebody signs in with.
type SignIn struct {
	Address  string // the domain may be left out when there is one only
	Password string
	Label    string // what people read of the device, up to MaxLabel bytes
	Class    string // desktop, phone or tablet; "" is desktop
	From     netip.Addr
}

// SignIn begins a session and returns its token, which is not kept. Errors: kind Invalid; Unauthorized for a wrong address or
// password, without a difference; Forbidden when the account is disabled; TooMany after too many wrong passwords, then there is
// an *auth.LockedError in it; or what the store says.
func (s *Service) SignIn(ctx context.Context, in SignIn) (token string, _ *Session, err error) {
	defer func() { s.metrics.signIn(err) }()
	in.Label = strings.TrimSpace(in.Label)
	switch {
	case len(in.Label) > MaxLabel || !utf8.ValidString(in.Label) || strings.ContainsFunc(in.Label, unicode.IsControl):
		return "", nil, errs.New(errs.Invalid, "session: device must be up to %d bytes of text", MaxLabel)
	case in.Class == "":
		in.Class = "desktop"
	case in.Class != "desktop" && in.Class != "phone" && in.Class != "tablet":
		return "", nil, errs.New(errs.Invalid, "session: kind must be desktop, phone or tablet")
	}
	u, err := s.o.Passwords.Password(ctx, s.address(in.Address), in.From, in.Password)
	if err != nil {
		return "", nil, err
	}
	secret := make([]byte, tokenBytes)
	rand.Read(secret)
	now := s.o.Now().UTC().Truncate(time.Microsecond)
	v := Session{Name: u.Name, Admin: u.Admin, Session: store.Session{
		ID: strings.ToLower(rand.Text()[:idLength]), AOR: u.AOR, Label: in.Label, Class: in.Class, Address: in.From.String(),
		Created: now, Seen: now, Expires: now.Add(s.o.Lifetime)}}
	token = base64.RawURLEncoding.EncodeToString(secret)
	v.Token = sha256.Sum256([]byte(token))
	s.mu.Lock()
	gen := s.gen
	s.mu.Unlock()
	ended, err := s.o.Store.AddSession(ctx, v.Session, u, MaxSessions)
	if errors.Is(err, errs.NotFound) { // changed meanwhile
		return "", nil, errs.Say(errs.Wrap(errs.Unauthorized, err, "session: signing in"), "the address or the password is not right")
	}
	if err != nil {
		return "", nil, errs.Wrap(errs.KindOf(err), err, "session: signing in")
	}
	// Its first call is not one of those that guess, however many of them come from the same address.
	s.mu.Lock()
	if s.gen == gen {
		s.remember(&v, s.o.Now())
	}
	s.mu.Unlock()
	for _, id := range ended {
		s.Gone(u.AOR, id)
		s.o.Ended(u.AOR, id, "", "too many other devices have signed in since")
	}
	return token, &v, nil
}

// address is what somebody typed, as accounts have it; what cannot be one stays as it is, and nobody has it.
func (s *Service) address(typed string) string {
	typed = strings.TrimSpace(typed)
	if !strings.Contains(typed, "@") && len(s.o.Domains) == 1 {
		typed += "@" + s.o.Domains[0]
	}
	if aor, err := s.o.Canonical(typed); err == nil {
		return aor
	}
	return strings.ToValidUTF8(typed[:min(len(typed), 255)], "")
}

// ErrEnded (Unauthorized) is for tokens that are nobody's, or are not any more.
var ErrEnded = errs.Say(errs.New(errs.Unauthorized, "session: no such session"), "this session has ended; sign in again")

// ErrRate (TooMany) is for a session that calls too often.
var ErrRate = errs.Say(errs.New(errs.TooMany, "session: too many calls"), "too many requests; wait a moment")

// Cached is Find for a session that is in the cache, which costs little; nil when it must be looked for. known tells whether a token
// is somebody's, as far as that is known here. Error: TooMany as of Find.
func (s *Service) Cached(token string, from netip.Addr) (_ *Session, known bool, err error) {
	if len(token) != tokenLength {
		return nil, false, nil
	}
	hash, now := sha256.Sum256([]byte(token)), s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byHash[hash]
	if e == nil || !e.holds(now) {
		return nil, e != nil, nil
	}
	v, ok := s.use(e, from, now)
	if !ok {
		return nil, true, ErrRate
	}
	return &v, true, nil
}

// tokenLength is that of a token in base64.
const tokenLength = (8*tokenBytes + 5) / 6

// holds tells whether an entry is believed without a look into the store. Service.mu is held.
func (e *entry) holds(now time.Time) bool { return now.Sub(e.read) < believed && now.Before(e.Expires) }

// Find returns the session of a token, and notes that it is used. Errors: Unauthorized when there is none, or it has ended;
// TooMany when it is used too often; what the store says.
func (s *Service) Find(ctx context.Context, token string, from netip.Addr) (*Session, error) {
	if len(token) != tokenLength {
		return nil, ErrEnded
	}
	hash := sha256.Sum256([]byte(token))
	for try := 0; ; try++ {
		now := s.o.Now()
		s.mu.Lock()
		e, gen := s.byHash[hash], s.gen
		if e != nil && e.holds(now) {
			v, ok := s.use(e, from, now)
			s.mu.Unlock()
			if !ok {
				return nil, ErrRate
			}
			return &v, nil
		}
		s.mu.Unlock()
		v, err := s.read(ctx, hash)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		if s.gen == gen {
			s.remember(v, now)
		}
		s.mu.Unlock()
		if try == 20 {
			return nil, errs.New(errs.Unavailable, "session: sessions end faster than this one can be read")
		}
	}
}

// use notes that a session is used, and tells whether it may. mu is held.
func (s *Service) use(e *entry, from netip.Addr, now time.Time) (Session, bool) {
	e.Seen, e.Expires, e.used = now.UTC(), now.Add(s.o.Lifetime).UTC(), true
	if from.IsValid() {
		if e.Address != from.String() {
			e.Address = from.String()
		}
	}
	return e.Session, e.bucket.Take(now, rate.Limit{Per: float64(s.o.Rate), Most: float64(4 * s.o.Rate)})
}

// read reads a session and its account.
func (s *Service) read(ctx context.Context, hash [32]byte) (*Session, error) {
	row, err := s.o.Store.SessionByToken(ctx, hash)
	if err == nil {
		s.mu.Lock()
		if e := s.byHash[hash]; e != nil && e.used && e.Expires.After(row.Expires) {
			row.Expires = e.Expires // it is used, and that could not be written yet
		}
		s.mu.Unlock()
	}
	if errors.Is(err, errs.NotFound) || err == nil && !s.o.Now().Before(row.Expires) {
		s.forget(hash)
		return nil, ErrEnded
	}
	if err != nil {
		return nil, err
	}
	u, err := s.o.Users.User(ctx, row.AOR)
	if errors.Is(err, errs.NotFound) || err == nil && u.Disabled {
		s.forget(hash)
		return nil, ErrEnded
	}
	if err != nil {
		return nil, err
	}
	return &Session{Session: *row, Name: u.Name, Admin: u.Admin}, nil
}

// remember puts what was read into the cache, over what was there. Another node may have noted a later use. mu is held.
func (s *Service) remember(v *Session, now time.Time) {
	if e := s.byHash[v.Token]; e != nil {
		e.Name, e.Admin, e.read = v.Name, v.Admin, now
		if v.Expires.After(e.Expires) {
			e.Expires = v.Expires
		}
		if v.Seen.After(e.Seen) {
			e.Seen, e.Address = v.Seen, v.Address
		}
		return
	}
	if len(s.byHash) >= maxCached {
		for _, e := range s.byHash { // any
			if !e.used {
				s.drop(e)
				break
			}
		}
	}
	e := &entry{Session: *v, read: now, written: v.Seen}
	s.byHash[v.Token], s.byID[v.ID] = e, e
	if s.people[v.AOR] == nil {
		s.people[v.AOR] = map[*entry]bool{}
	}
	s.people[v.AOR][e] = true
}

// drop takes an entry out of the cache. mu is held.
func (s *Service) drop(e *entry) {
	delete(s.byHash, e.Token)
	delete(s.byID, e.ID)
	if delete(s.people[e.AOR], e); len(s.people[e.AOR]) == 0 {
		delete(s.people, e.AOR)
	}
}

// forget drops what is not in the store any more, and ends it if it was known.
func (s *Service) forget(hash [32]byte) {
	s.mu.Lock()
	e := s.byHash[hash]
	if e != nil {
		s.drop(e)
	}
	s.mu.Unlock()
	if e != nil {
		s.o.Ended(e.AOR, e.ID, "", "the session has ended")
	}
}

// List returns the sessions of an account, oldest first, with their last use as it is known here.
func (s *Service) List(ctx context.Context, aor string) ([]store.Session, error) {
	list, err := s.o.Store.SessionsOf(ctx, aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		if e := s.byID[list[i].ID]; e != nil && e.used {
			list[i].Seen, list[i].Expires, list[i].Address = e.Seen, e.Expires, e.Address
		}
	}
	return list, err
}

// End ends one session of an account, with what is open under it. NotFound when there is none with this id.
func (s *Service) End(ctx context.Context, aor, id, reason string) error {
	if err := s.o.Store.RemoveSession(ctx, aor, id); err != nil {
		return err
	}
	s.Gone(aor, id)
	s.o.Ended(aor, id, "", reason)
	return nil
}

// Gone forgets a session that was ended, here or on another node.
func (s *Service) Gone(aor, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	if e := s.byID[id]; e != nil && e.AOR == aor {
		s.drop(e)
	}
}

// AccountChanged is told of a change to an account. Over says that its sessions have ended, in the store they have already.
func (s *Service) AccountChanged(aor string, over bool, reason string) {
	s.mu.Lock()
	s.gen++
	but := s.keep[aor]
	for e := range s.people[aor] {
		switch {
		case over && e.ID == but:
			e.read = s.o.Now()
		case over:
			s.drop(e)
		default:
			e.read = time.Time{}
		}
	}
	s.mu.Unlock()
	if over {
		s.o.Ended(aor, "", but, reason)
	}
}

// ChangePassword lets the owner of a session change the password: set does it, which ends all sessions but this one. Errors:
// Forbidden when the old password is wrong, the others of SignIn, and those of set.
func (s *Service) ChangePassword(ctx context.Context, aor, id string, from netip.Addr, old string, set func() error) error {
	if _, err := s.o.Passwords.Password(ctx, aor, from, old); errors.Is(err, errs.Unauthorized) {
		return errs.Say(errs.Wrap(errs.Forbidden, err, "session: changing the password"), "the old password is not right")
	} else if err != nil {
		return err
	}
	s.mu.Lock()
	e := s.byID[id]
	if e == nil || e.AOR != aor || s.keep[aor] != "" {
		s.mu.Unlock()
		return errs.New(errs.Conflict, "session: the password is being changed")
	}
	s.keep[aor] = id
	e.read = s.o.Now()
	v := e.Session.Session
	s.mu.Unlock()
	err := set()
	if err == nil {
		err = s.again(context.WithoutCancel(ctx), v)
	}
	s.mu.Lock()
	delete(s.keep, aor)
	s.gen++
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return nil
}

// again puts a session back that its owner's new password has taken out of the store.
func (s *Service) again(ctx context.Context, v store.Session) error {
	u, err := s.o.Users.User(ctx, v.AOR)
	if err == nil {
		_, err = s.o.Store.AddSession(ctx, v, u, MaxSessions)
	}
	if err != nil {
		s.Gone(v.AOR, v.ID)
		s.o.Ended(v.AOR, v.ID, "", "the password was changed")
	}
	return errs.Say(err, "the password was changed; sign in with it")
}
