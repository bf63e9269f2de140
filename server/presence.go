package server

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-im/parley/bus"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/service/presence"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/service/presence/device"
	"github.com/parley-im/parley/service/registrar"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/sip"
)

// comeBack is how long after a start a device counts as there although its connection is not: the connections ended with
// the last process, and telling everybody that everybody is gone would help nobody.
const comeBack = 2 * time.Minute

// lookAgainAfter is how often everything is looked at, for hints that were lost.
const lookAgainAfter = 10 * time.Minute

// winfoInterval is the least time between two notifications of watcher information (RFC 3857 §4.10).
const winfoInterval = 5 * time.Second

// watching is all about presence: the agent and its notifiers.
type watching struct {
	*presence.Service
	notifier *dialog.Notifier // presence
	winfo    *dialog.Notifier // presence.winfo
	devices  deviceCache
	started  time.Time
	loaded   chan struct{} // closed when what was there before the start is known
}

// notifiers are those of presence, not that of registrations.
func (w *watching) notifiers() []*dialog.Notifier { return []*dialog.Notifier{w.notifier, w.winfo} }

// buildPresence makes the presence agent and what tells it of changes.
func (s *Server) buildPresence() error {
	w := &watching{started: time.Now(), loaded: make(chan struct{})}
	w.devices.init()
	s.presence = w
	c := s.cfg.Presence
	w.Service = presence.New(presence.Options{
		Domains: s.cfg.Domains, Store: presenceStore{s.store.sql.Presence(), s.store}, Accounts: s.auth.Accounts(), Contacts: people{s.contacts, s.cfg.Domains},
		Devices: s.devicesOf, DeviceOf: s.deviceOf, Changed: s.presenceChanged, List: c.List, Log: s.log, Registerer: s.registry,
	})
	keep := subscriptions{s.store.sql.Presence()}
	w.notifier = dialog.NewNotifier(dialog.Options{
		Event: presence.Package, Types: presence.Types(), Source: w.Source(), Transactions: s.transactions, Contact: s.contact, NextHop: s.proxy.NextHop,
		Interval: c.Interval, PerWatcher: c.Subscriptions, Total: 1_000_000, Rate: c.Rate, Keep: keep, UDPFlow: s.transport.UDPFlow, Log: s.log, Registerer: s.registry,
	})
	w.winfo = dialog.NewNotifier(dialog.Options{
		Event: presence.InfoPackage, Types: presence.InfoTypes(), Source: w.Info(), Transactions: s.transactions, Contact: s.contact, NextHop: s.proxy.NextHop,
		Interval: winfoInterval, PerWatcher: s.cfg.Limits.Subscriptions, Keep: keep, UDPFlow: s.transport.UDPFlow, Log: s.log, Registerer: s.registry,
	})
	for _, subscribe := range []func() error{
		func() error { _, err := bus.Subscribe(s.bus, s.listChanged); return err },
		func() error { _, err := bus.Subscribe(s.bus, s.levelsChanged); return err },
	} {
		if err := subscribe(); err != nil {
			return err
		}
	}
	return nil
}

// listChanged brings lists that are watched up to date.
func (s *Server) listChanged(e bus.ContactsChanged) {
	if e.Node != s.node {
		s.contacts.Outdated(e.Owner, e.Version)
	}
	s.presence.ContactsChanged(e.Owner)
}

// levelsChanged looks again at who sees what.
func (s *Server) levelsChanged(e bus.LevelsChanged) {
	if e.Node != s.node {
		s.contacts.Outdated(e.Owner, e.Version)
	}
	s.presence.LevelsChanged(e.Owner, e.People)
}

// presenceChanged is told of a new availability.
func (s *Server) presenceChanged(aor string, st compose.State) {
	bus.Publish(s.bus, bus.PresenceChanged{AOR: aor, Availability: string(st.Availability), Node: s.node})
}

// servePresence runs the agent and its notifiers.
func (s *Server) servePresence(ctx context.Context) error {
	var g sync.WaitGroup
	for _, n := range s.presence.notifiers() {
		g.Go(func() {
			select {
			case <-s.presence.loaded:
				_ = n.Serve(ctx) // it only returns when ctx has ended
			case <-ctx.Done():
			}
		})
	}
	g.Go(func() {
		t := time.NewTimer(comeBack)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			s.presence.Again(ctx)
			t.Reset(lookAgainAfter)
		}
	})
	err := s.presence.Serve(ctx)
	g.Wait()
	return err
}

// loadPresence reads what was there before the start, once the registrar knows who was here.
func (s *Server) loadPresence(ctx context.Context) error {
	if err := s.presence.Load(ctx); err != nil {
		return err
	}
	for _, n := range s.presence.notifiers() {
		if err := n.Load(ctx); err != nil {
			return err
		}
	}
	close(s.presence.loaded)
	return nil
}

// subscribePresence hands SUBSCRIBE to one of the notifiers.
func (s *Server) subscribePresence(n *dialog.Notifier) route.Handler {
	return route.HandlerFunc(func(r *route.Request) {
		n.HandleSubscribe(r.Tx, r.Msg, dialog.Watcher{AOR: r.Identity.AOR, Device: s.deviceOf(r), Admin: r.Identity.Admin})
	})
}

// people are contacts as the presence agent asks for them.
type people struct {
	c       *contact.Service
	domains []string
}

func (p people) Level(ctx context.Context, owner, watcher string) (policy.Level, policy.Reason, error) {
	return p.c.Level(ctx, owner, watcher)
}

func (p people) Known(owner, watcher string) (policy.Level, bool) {
	l, ok := p.c.Cached(owner)
	if !ok {
		return policy.Blocked, false
	}
	level, _ := l.Level(p.domains, owner, watcher)
	return level, true
}

func (p people) Contacts(ctx context.Context, owner string) ([]presence.Contact, error) {
	l, err := p.c.List(ctx, owner)
	if err != nil {
		return nil, err
	}
	list := make([]presence.Contact, l.Len())
	for i := range list {
		list[i] = presence.Contact{Address: l.Address(i), Name: l.At(i).Name}
	}
	return list, nil
}

// presenceStore is the part of the store that the presence agent asks for.
type presenceStore struct {
	store.Presence
	log store.Log
}

func (p presenceStore) Append(r *store.Record, done func(error)) { p.log.Append(r, done) }

// subscriptions keeps those of a notifier.
type subscriptions struct{ p store.Presence }

func (k subscriptions) Save(ctx context.Context, save []dialog.Row, remove []string) error {
	rows := make([]store.Subscription, len(save))
	for i, r := range save {
		rows[i] = store.Subscription(r)
	}
	return k.p.SaveSubscriptions(ctx, rows, remove)
}

func (k subscriptions) Load(ctx context.Context, event string, f func(*dialog.Row) error) error {
	return k.p.Subscriptions(ctx, event, func(r *store.Subscription) error { return f((*dialog.Row)(r)) })
}

// deviceCache keeps what a registration says of its device. What is measured on the connection is measured when the device
// registers or refreshes, so that documents do not change with every measurement.
type deviceCache struct {
	mu sync.Mutex // guards what follows
	m  map[string][]knownDevice
}

type knownDevice struct {
	binding *registrar.Binding
	device  compose.Device
}

func (c *deviceCache) init() { c.m = map[string][]knownDevice{} }

// swap replaces what is known of an account by what make says of each binding that is not known yet.
func (c *deviceCache) swap(aor string, bindings []*registrar.Binding, make func(*registrar.Binding) compose.Device) []knownDevice {
	c.mu.Lock()
	old := c.m[aor]
	c.mu.Unlock()
	if len(old) == 0 && len(bindings) == 0 {
		return nil
	}
	var list []knownDevice
	for _, b := range bindings {
		if i := slices.IndexFunc(old, func(k knownDevice) bool { return k.binding == b }); i >= 0 {
			list = append(list, old[i])
			continue
		}
		d := make(b)
		if i := slices.IndexFunc(old, func(k knownDevice) bool { return k.device.ID == d.ID }); i >= 0 {
			calm(&d, &old[i].device)
		}
		list = append(list, knownDevice{b, d})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(list) == 0 {
		delete(c.m, aor)
	} else {
		c.m[bindings[0].AOR] = list
	}
	return list
}

// calm keeps the round trip that was told of a device unless it is more than one step of 1, 2, 5, 10 … away: nobody wants to
// hear of it after each refresh.
func calm(d, was *compose.Device) {
	if d.Line.Throughput != was.Line.Throughput || d.MaxMessage != was.MaxMessage || device.Slow(d.Line) != device.Slow(was.Line) {
		return
	}
	low, high := min(d.Line.RTT, was.Line.RTT), max(d.Line.RTT, was.Line.RTT)
	if low > 0 && 2*high <= 5*low {
		d.Line.RTT = was.Line.RTT
	}
}

// devicesOf are the devices of an account that are there, ordered by their names: registrations, then sessions over HTTP. Of several
// bindings of one device the latest one counts whose connection is there.
func (s *Server) devicesOf(aor string) []compose.Device {
	bindings := s.registrar.Bindings(aor)
	if len(bindings) > 1 {
		alive := func(b *registrar.Binding) int {
			if b.Flow.Alive() {
				return 1
			}
			return 0
		}
		slices.SortFunc(bindings, func(a, b *registrar.Binding) int {
			return cmp.Or(cmp.Compare(a.Device, b.Device), alive(b)-alive(a), b.Updated.Compare(a.Updated))
		})
		bindings = slices.CompactFunc(bindings, func(a, b *registrar.Binding) bool { return a.Device == b.Device })
	}
	if len(bindings) > 0 && time.Since(s.presence.started) >= comeBack {
		ways := s.registrar.Devices(aor)
		bindings = slices.DeleteFunc(bindings, func(b *registrar.Binding) bool {
			return !slices.ContainsFunc(ways, func(t route.Target) bool { return t.Device == b.Device })
		})
	}
	known := s.presence.devices.swap(aor, bindings, s.describe)
	list := make([]compose.Device, len(known))
	for i, k := range known {
		list[i] = k.device
	}
	return append(list, s.sessionDevices(aor)...)
}

// describe says what a registration tells of its device.
func (s *Server) describe(b *registrar.Binding) compose.Device {
	r := device.Registration{ID: b.Device, Params: sip.Params(b.Params), UserAgent: b.UserAgent, Transport: b.Transport,
		Q: b.Q, Since: b.Created, Limit: uint32(s.cfg.Limits.Body)}
	if b.Instance != "" {
		r.Contact = s.registrar.PublicGRUU(b.AOR, b.Instance)
	}
	if line, ok := b.Flow.Line(); ok && len(b.Path) == 0 {
		r.RTT, r.Rate, r.AtLeast = line.RTT, line.Rate, line.AtLeast
	}
	return device.Of(&r)
}

// deviceOf names the device that sent a request: the one that registered on the same flow, or with the same device password,
// or alone from the same address; else the one whose password was used.
func (s *Server) deviceOf(r *route.Request) string {
	bindings := s.registrar.Bindings(r.Identity.AOR)
	for _, same := range []func(*registrar.Binding) bool{
		func(b *registrar.Binding) bool { return b.Flow == r.Flow },
		func(b *registrar.Binding) bool { return b.Password != "" && b.Password == r.Identity.Device },
		func(b *registrar.Binding) bool {
			return b.Password == r.Identity.Device && b.Remote.Addr() == r.Flow.Remote().Addr()
		},
	} {
		found := map[string]bool{}
		last := ""
		for _, b := range bindings {
			if same(b) {
				found[b.Device], last = true, b.Device
			}
		}
		if len(found) == 1 {
			return last
		}
	}
	return registrar.DeviceID("", r.Identity.Device)
}
