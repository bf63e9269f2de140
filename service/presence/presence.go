// Package presence is the presence agent of RFC 3856: it makes one state of what a person's devices, the person and the server
// itself say (package compose), takes what devices publish (RFC 3903), and shows to each watcher what the level of that
// watcher allows, one by one or as a list (RFC 4662, RFC 5367), in full or as changes (RFC 5263). Owners see who watches them
// (RFC 3857).
package presence

import (
	"context"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
)

// Accounts tells who there is; auth.Accounts is one.
type Accounts interface {
	// Lookup calls done once, now or later; the error is errs.NotFound when there is no such account.
	Lookup(aor string, done func(*store.User, error))
}

// Contact is an entry of somebody's list of contacts.
type Contact struct {
	Address string // "bob@example.com", "sips:bob@example.com" or "tel:+4930123"
	Name    string // as its owner calls it, or ""
}

// Contacts are the lists of contacts, and what they make others to their owners. The first two may wait for the store.
type Contacts interface {
	Level(ctx context.Context, owner, watcher string) (policy.Level, policy.Reason, error)
	Contacts(ctx context.Context, owner string) ([]Contact, error)
	// Known is Level if the list of owner is in memory.
	Known(owner, watcher string) (level policy.Level, ok bool)
}

// Store keeps what must outlive a restart, and the record of what administrators did.
type Store interface {
	SetManual(ctx context.Context, m store.ManualState) error
	Manual(ctx context.Context, f func(*store.ManualState) error) error
	SavePublications(ctx context.Context, save []store.Publication, remove []string) error
	Publications(ctx context.Context, f func(*store.Publication) error) error
	Append(r *store.Record, done func(error))
}

// Limits bound what people can make the service hold. Zero means the default in brackets.
type Limits struct {
	Publications     int   // of one account [20]
	PublicationBytes int   // one body [32 kB]
	PublishedBytes   int64 // all bodies that are held [256 MB]
	ListEntries      int   // of one list [2,000]
	UserEntries      int   // of all lists that one account watches [20,000]
	Entries          int64 // of all lists [5,000,000]
	DatagramBody     int   // body of a NOTIFY about a list over UDP, about [16 kB]
	StreamBody       int   // over connections, about [60 kB]
	WatcherRows      int   // rows of watcher information in one NOTIFY [200]

	MinExpires, DefaultExpires, MaxExpires time.Duration // of a publication [60 s, 1 h, 24 h]
}

// Options are what a Service is made of.
type Options struct {
	Domains  []string // of this server
	Store    Store
	Accounts Accounts
	Contacts Contacts
	// Devices are the devices of an account that can be reached now.
	Devices func(aor string) []compose.Device
	// DeviceOf names the device that sent a request, as compose.Device.ID does; nil: Identity.Device.
	DeviceOf func(r *route.Request) string
	// Changed is told when the availability of somebody is another one. It must not block. May be nil.
	Changed func(aor string, st compose.State)
	// List is the user part of the address of everybody's own list of contacts, "contacts" by default.
	List       string
	Limits     Limits
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are kept but not shown
}

// Service is the presence agent.
type Service struct {
	o       Options
	metrics *metrics
	table   table
	queues  []*queue // of entities that changed, by hash
	jobs    jobs
	alarm   *alarm
	publish publishing
	lists   lists
	follows followers
	pool    sync.Pool // of *[]byte, to write documents in

	lookups struct {
		mu      sync.Mutex // guards what follows
		waiting []*entity
		out     int
	}
	ready atomic.Bool // what was saved is there
}

// New makes a Service; it starts nothing.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.List == "" {
		o.List = "contacts"
	}
	if o.Changed == nil {
		o.Changed = func(string, compose.State) {}
	}
	if o.DeviceOf == nil {
		o.DeviceOf = func(r *route.Request) string { return r.Identity.Device }
	}
	o.Limits.fill()
	s := &Service{o: o}
	s.pool.New = func() any { return new([]byte) }
	s.table.init()
	for range min(4, runtime.GOMAXPROCS(0)) {
		s.queues = append(s.queues, newQueue())
	}
	s.jobs.wake = make(chan struct{}, jobWorkers)
	s.alarm = newAlarm()
	s.publish.init()
	s.lists.init()
	s.follows.init()
	s.metrics = newMetrics(o.Registerer, s)
	return s
}

func (l *Limits) fill() {
	def(&l.Publications, 20)
	def(&l.PublicationBytes, 32<<10)
	def(&l.PublishedBytes, 256<<20)
	def(&l.ListEntries, 2000)
	def(&l.UserEntries, 20_000)
	def(&l.Entries, 5_000_000)
	def(&l.DatagramBody, 16<<10)
	def(&l.StreamBody, 60<<10)
	def(&l.WatcherRows, 200)
	def(&l.MinExpires, time.Minute)
	def(&l.DefaultExpires, time.Hour)
	def(&l.MaxExpires, 24*time.Hour)
}

func def[T ~int | ~int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Serve composes what changes, and tells it, until ctx ends. What is to be saved has been saved when it returns.
func (s *Service) Serve(ctx context.Context) error {
	var g sync.WaitGroup
	for _, q := range s.queues {
		g.Go(func() { s.work(ctx, q) })
	}
	for range jobWorkers {
		g.Go(func() { s.jobs.serve(ctx) })
	}
	g.Go(func() { s.alarm.serve(ctx, s.due) })
	g.Go(func() { s.follows.serve(ctx) })
	s.save(ctx)
	g.Wait()
	return nil
}

// ours tells whether an AOR is of one of our domains.
func (s *Service) ours(aor string) bool {
	_, host, _ := strings.Cut(aor, "@")
	for _, d := range s.o.Domains {
		if strings.EqualFold(d, host) {
			return true
		}
	}
	return false
}

// DevicesChanged is told that somebody's devices, or their lines, are not what they were. It does not block.
func (s *Service) DevicesChanged(aor string) {
	s.change(aor, func(*entity) {})
}

// CallsChanged is told in which calls somebody is. It does not block.
func (s *Service) CallsChanged(aor string, c compose.Calls) {
	s.change(aor, func(e *entity) { e.calls = c })
}

// LevelsChanged is told that others may be something else to owner than they were; people are a hint, none means anybody.
// It does not block.
func (s *Service) LevelsChanged(owner string, _ []string) {
	e := s.table.find(owner)
	if e == nil {
		return
	}
	defer s.unpin(e)
	e.mu.Lock()
	e.levelGen++
	e.relevel = true
	e.mu.Unlock()
	s.askLevels(e)
}

// UserChanged is told that an account is new, or was changed, or is gone. It does not block.
func (s *Service) UserChanged(aor string, gone bool) {
	if !gone {
		if e := s.table.find(aor); e != nil {
			if e.exists.Load() != there {
				s.lookup(e)
			}
			s.unpin(e)
		}
		return
	}
	s.change(aor, func(e *entity) {
		s.dropPublications(e)
		e.manual, e.calls = compose.Manual{}, compose.Calls{}
		e.exists.Store(missing)
		e.gone = true
	})
}

// change applies a change to somebody's sources and has the state composed anew.
func (s *Service) change(aor string, f func(e *entity)) {
	e := s.table.get(aor)
	e.mu.Lock()
	f(e)
	e.gen++
	s.enqueue(e)
	e.mu.Unlock()
	s.unpin(e)
}

// What Again asks the store about at a time, and the pause after that: a thousand in a second at most.
const (
	againAt    = 100
	againPause = 100 * time.Millisecond
)

// Again looks at everything anew: devices, levels, and lists that are watched. Who tells of changes only hints at them, and
// a hint may be lost; where nothing is different nobody is told anything. It returns when all has been asked, or ctx ends.
func (s *Service) Again(ctx context.Context) {
	people := s.table.all()
	for _, e := range people {
		s.DevicesChanged(e.aor)
	}
	for i, e := range people {
		if s.LevelsChanged(e.aor, nil); !s.pace(ctx, i+1) {
			return
		}
	}
	s.lists.mu.Lock()
	owners := slices.Collect(maps.Keys(s.lists.own))
	s.lists.mu.Unlock()
	for i, owner := range owners {
		if s.ContactsChanged(owner); !s.pace(ctx, i+1) {
			return
		}
	}
}

// pace waits after so many questions; false when ctx has ended.
func (s *Service) pace(ctx context.Context, n int) bool {
	for wait := n%againAt == 0; wait; wait = s.jobs.len() > againAt {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(againPause):
		}
	}
	return true
}
