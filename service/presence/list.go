package presence

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/resourcelist"
	"github.com/parley-im/parley/wire/sip"
	"github.com/parley-im/parley/wire/xmlsafe"
)

// list is what a watch of a list has more than one of a person. It is guarded by the watch's mutex.
type list struct {
	uri      string
	linphone bool // the watcher is such a client: see isLinphone
	contacts bool // the watcher's own list of contacts; else the list came in the SUBSCRIBE
	limit    int  // bytes of a body, about
	dirty    []uint32
	odd      map[uint32]string // URIs of entries that are not "sip:" and the AOR
	names    []string          // of entries, nil when nobody has one
	vacant   []uint32          // places of entries that can be used again
	whole    bool              // the next body tells everything, because what is gone was forgotten

	size     int  // entries that count against the limits
	renewing bool // it is being made, or compared with the list of contacts, or a job that will do so waits
	outdated bool // the list of contacts changed meanwhile
}

// free gives the place of an entry back; w.mu is held.
func (w *watch) free(at uint32) {
	l := w.list
	w.entries[at] = entry{flags: vacant, round: w.entries[at].round + 1}
	delete(l.odd, at)
	if int(at) < len(l.names) {
		l.names[at] = ""
	}
	l.vacant = append(l.vacant, at)
}

// lists are all watches of lists.
type lists struct {
	mu    sync.Mutex // guards what follows
	own   map[string][]*watch
	count map[string]int // entries by watcher
	begun map[string]int // lists by watcher that are being made for a SUBSCRIBE
	total int64
}

func (l *lists) init() {
	l.own, l.count, l.begun = map[string][]*watch{}, map[string]int{}, map[string]int{}
}

// maxBegun is how many lists of one watcher are made at a time: each may have thousands of people to be looked up, and the
// subscriptions of everybody else wait behind them.
const maxBegun = 8

// begin counts a list that is to be made; false when too many are.
func (l *lists) begin(watcher string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun[watcher] >= maxBegun {
		return false
	}
	l.begun[watcher]++
	return true
}

func (l *lists) made(watcher string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun[watcher]--; l.begun[watcher] <= 0 {
		delete(l.begun, watcher)
	}
}

func (l *lists) len() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

var errEntries = errs.Say(errs.New(errs.TooMany, "presence: too many entries"), "you watch too many people in lists; end some subscriptions first")

// reserve counts entries against the limits.
func (s *Service) reserve(watcher string, n int) error {
	l := &s.lists
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[watcher]+n > s.o.Limits.UserEntries || l.total+int64(n) > s.o.Limits.Entries {
		s.metrics.refused.WithLabelValues("entries").Inc()
		return errEntries
	}
	l.count[watcher] += n
	l.total += int64(n)
	return nil
}

func (s *Service) release(watcher string, n int) {
	l := &s.lists
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[watcher] -= n; l.count[watcher] <= 0 {
		delete(l.count, watcher)
	}
	l.total -= int64(n)
}

// item is an entry of a list as somebody wrote it.
type item struct{ uri, name string }

// addressOf is the AOR of ours that a URI in a list means, "" for somebody else's.
func (s *Service) addressOf(uri string) string {
	if rest, ok := strings.CutPrefix(uri, "pres:"); ok {
		uri = "sip:" + rest // it names the same person
	}
	u, err := sip.ParseURI(uri)
	if err != nil {
		return ""
	}
	aor := u.AOR()
	if aor == "" || !s.ours(aor) {
		return ""
	}
	return aor
}

// recipients reads the list in the body of a SUBSCRIBE (RFC 5367 §5); found is false when there is none.
func (s *Service) recipients(m *sip.Message) (items []item, found bool, refuse *dialog.Decision) {
	mediaType, _ := m.ContentType()
	body := m.Body()
	if len(body) == 0 {
		return nil, false, nil
	}
	if encoding := m.Get(sip.HContentEncoding); encoding != "" {
		var err error
		if body, err = mime.Inflate(encoding, body, resourcelist.DefaultLimits.Bytes); err != nil {
			return nil, false, undecodable(err)
		}
	}
	documents := [][]byte{body}
	switch {
	case mediaType == resourcelist.ContentType:
	case mime.IsMultipart(mediaType):
		parts, err := mime.Multipart(m.Get(sip.HContentType), body, mime.DefaultLimits)
		if err != nil {
			return nil, false, &dialog.Decision{Status: 400, Warning: "the multipart body is malformed"}
		}
		documents = documents[:0]
		for _, p := range parts {
			if t, _ := sip.SplitMediaType(p.ContentType); t == resourcelist.ContentType {
				documents = append(documents, p.Body)
			}
		}
		if len(documents) == 0 {
			return nil, false, unsupported()
		}
	case mediaType == "application/simple-filter+xml":
		return nil, false, nil // RFC 3856 §6.4: what is asked for may be more than what is told
	default:
		return nil, false, unsupported()
	}
	limits := resourcelist.DefaultLimits
	limits.Entries = s.o.Limits.ListEntries + limits.Depth // lists count as well
	for _, doc := range documents {
		// RFC 5363 §4.1: several lists are one.
		list, err := resourcelist.Recipients(doc, limits)
		switch {
		case errors.Is(err, resourcelist.ErrTooLarge), errors.Is(err, xmlsafe.ErrTooLarge):
			return nil, false, &dialog.Decision{Status: 413, Warning: quotable(err.Error())}
		case err != nil:
			return nil, false, &dialog.Decision{Status: 400, Warning: quotable(err.Error())}
		}
		for _, i := range list {
			if len(i.URI) > maxEntryURI {
				return nil, false, &dialog.Decision{Status: 400, Warning: "an address in the list is longer than " + strconv.Itoa(maxEntryURI) + " bytes"}
			}
			items = append(items, item{i.URI, cut(i.DisplayName.Text, maxEntryName)})
		}
		if len(items) > s.o.Limits.ListEntries {
			return nil, false, &dialog.Decision{Status: 413, Warning: "a list may have " + strconv.Itoa(s.o.Limits.ListEntries) + " entries at most"}
		}
	}
	return items, true, nil
}

// What an entry of a list in a SUBSCRIBE may take, in bytes: it is held as long as the subscription, and told in NOTIFYs.
const (
	maxEntryURI  = 512
	maxEntryName = 256 // what is longer is cut
)

// cut shortens a text to so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

func unsupported() *dialog.Decision {
	return &dialog.Decision{Status: 415, Headers: [][2]string{{"Accept", resourcelist.ContentType}}}
}

func undecodable(err error) *dialog.Decision {
	switch {
	case errors.Is(err, mime.ErrTooLarge):
		return &dialog.Decision{Status: 413, Warning: "the body is too large when unpacked"}
	case errors.Is(err, mime.ErrEncoding):
		return &dialog.Decision{Status: 415, Headers: [][2]string{{"Accept-Encoding", mime.Encodings}}}
	}
	return &dialog.Decision{Status: 400, Warning: "the body cannot be unpacked"}
}

// quotable makes an error's text fit for a Warning.
func quotable(text string) string {
	const most = 160
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r == '\\' || r > '~' {
			return '\''
		}
		return r
	}, text)
	return text[:min(most, len(text))]
}

// askList decides about a subscription to a list.
func (s *Service) askList(sub *dialog.Subscription, m *sip.Message, items []item, own bool, done func(dialog.Decision)) {
	if !hasToken(m, sip.HSupported, eventList) && !hasToken(m, sip.HRequire, eventList) {
		// RFC 4662 §4.1
		done(dialog.Decision{Status: 421, Require: eventList, Warning: "this is a list, which needs the extension eventlist"})
		return
	}
	for _, i := range items {
		if aor := s.addressOf(i.uri); aor != "" && (aor == sub.Resource() || s.isList(aor)) {
			done(dialog.Decision{Status: 400, Warning: "the list contains itself"})
			return
		}
	}
	w := &watch{teller: sub, since: now(), list: &list{uri: "sip:" + sub.Resource(), linphone: isLinphone(m), contacts: own, limit: s.room(m), renewing: true}}
	// The store is asked for each person: this waits its turn.
	watcher := w.watcher()
	if !s.lists.begin(watcher) {
		done(busy())
		return
	}
	ok := s.jobs.try(func(ctx context.Context) {
		defer s.lists.made(watcher)
		s.startList(ctx, sub, w, items, false, done)
	})
	if !ok {
		s.lists.made(watcher)
		done(busy())
	}
}

// startList fills a list, and begins the subscription or goes on with it. It is false when a subscription from before a
// restart has to wait for the store; nothing has been decided then.
func (s *Service) startList(ctx context.Context, sub *dialog.Subscription, w *watch, items []item, restored bool, done func(dialog.Decision)) bool {
	unable := func(err error) bool {
		if restored && errs.KindOf(err).Temporary() {
			return false
		}
		done(failed(err))
		return true
	}
	begun := false
	if w.list.contacts {
		// Before the list is read: what changes while everybody's level is asked is not missed then.
		s.enlist(w)
		defer func() {
			if !begun {
				s.delist(w)
			}
		}()
		var err error
		if items, err = s.contactsOf(ctx, w.watcher()); err != nil {
			return unable(err)
		}
	}
	if err := s.reserve(w.watcher(), len(items)); err != nil {
		done(dialog.Decision{Status: 403, Warning: errs.Reason(err)})
		return true
	}
	people, err := s.compile(ctx, w, items)
	if err != nil {
		s.release(w.watcher(), len(items))
		return unable(err)
	}
	begun = true
	sub.SetData(w)
	s.attach(w, people)
	s.settle(w)
	decision := dialog.Decision{Require: eventList}
	if w.list.linphone {
		decision.Event = "Presence"
	}
	done(decision)
	w.start()
	return true
}

// isLinphone tells whether a list is for Linphone (5.1; desktop and mobile). It subscribes to "presence", as all do, but
// reads NOTIFYs of lists only if these say "Presence", and finds the parts only if their cids are in angle brackets.
func isLinphone(m *sip.Message) bool {
	const name = "linphone"
	agent := m.Get(sip.HUserAgent)
	return len(agent) >= len(name) && strings.EqualFold(agent[:len(name)], name)
}

// enlist has a watch told when its watcher's list of contacts changes.
func (s *Service) enlist(w *watch) {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	s.lists.own[w.watcher()] = append(s.lists.own[w.watcher()], w)
}

// delist takes back enlist, if there is something to take back.
func (s *Service) delist(w *watch) {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	own := s.lists.own[w.watcher()]
	if i := slices.Index(own, w); i >= 0 {
		own = slices.Delete(own, i, i+1)
	}
	if len(own) == 0 {
		delete(s.lists.own, w.watcher())
	} else {
		s.lists.own[w.watcher()] = own
	}
}

// settle is called when a watch has been compared with the list of contacts: again, if that changed meanwhile.
func (s *Service) settle(w *watch) {
	w.mu.Lock()
	w.list.renewing = w.list.outdated && !w.ended
	again := w.list.renewing
	w.mu.Unlock()
	if again {
		s.jobs.must(func(ctx context.Context) { s.renew(ctx, w) })
	}
}

// start lets a watch be told, and tells it what came since its first body, which may have been made already.
func (w *watch) start() {
	w.mu.Lock()
	w.live = true
	news := w.list == nil && w.stale(&w.entries[0]) || w.list != nil && (w.list.whole || len(w.list.dirty) > 0)
	w.mu.Unlock()
	if news {
		w.tell()
	}
}

// contactsOf are the items of somebody's list of contacts.
func (s *Service) contactsOf(ctx context.Context, owner string) ([]item, error) {
	list, err := s.o.Contacts.Contacts(ctx, owner)
	items := make([]item, len(list))
	for i, c := range list {
		items[i] = item{uriOf(c.Address), c.Name}
	}
	return items, err
}

// uriOf is the URI of a contact's address.
func uriOf(address string) string {
	if strings.HasPrefix(address, "sips:") || strings.HasPrefix(address, "tel:") {
		return address
	}
	return "sip:" + address
}

// compile makes entries of items for a new watch, and the people who are to be attached.
func (s *Service) compile(ctx context.Context, w *watch, items []item) ([]person, error) {
	w.entries = make([]entry, len(items))
	people := make([]person, 0, len(items))
	for i, it := range items {
		p, err := s.prepare(ctx, w.watcher(), it)
		if err != nil {
			unpinAll(s, people)
			return nil, err
		}
		p.at = uint32(i)
		w.place(&p, it)
		if p.e != nil {
			people = append(people, p)
		}
	}
	w.list.size = len(items)
	return people, nil
}

func unpinAll(s *Service, people []person) {
	for _, p := range people {
		if p.e != nil {
			s.unpin(p.e)
		}
	}
}

// prepare finds the person that an item means, and what the watcher is to them. It is nobody when the person is not one of
// ours. It may wait for the store.
func (s *Service) prepare(ctx context.Context, watcher string, it item) (person, error) {
	aor := s.addressOf(it.uri)
	if aor == "" {
		return person{}, nil
	}
	p := s.find(aor)
	if err := s.judge(ctx, &p, watcher); err != nil {
		s.unpin(p.e)
		return person{}, err
	}
	return p, nil
}

// place puts a person, or nobody of ours, into the entry p.at; w.mu is held, or nobody else has w yet.
func (w *watch) place(p *person, it item) {
	l := w.list
	p.round = w.entries[p.at].round
	w.entries[p.at] = entry{e: p.e, level: p.level, round: p.round}
	w.name(p.at, it.name)
	if p.e == nil || it.uri != "sip:"+p.e.aor {
		if l.odd == nil {
			l.odd = map[uint32]string{}
		}
		l.odd[p.at] = strings.Clone(it.uri)
	}
}

// name notes what an entry is called.
func (w *watch) name(at uint32, name string) {
	l := w.list
	if name == "" && int(at) >= len(l.names) {
		return
	}
	if len(l.names) < len(w.entries) {
		l.names = append(l.names, make([]string, len(w.entries)-len(l.names))...)
	}
	if l.names[at] != name {
		l.names[at] = strings.Clone(name)
	}
}

// ContactsChanged is told that somebody's list of contacts is not what it was. It does not block.
func (s *Service) ContactsChanged(owner string) {
	s.lists.mu.Lock()
	watches := append([]*watch(nil), s.lists.own[owner]...)
	s.lists.mu.Unlock()
	for _, w := range watches {
		w.mu.Lock()
		again := !w.list.renewing
		w.list.renewing, w.list.outdated = true, true
		w.mu.Unlock()
		if again {
			s.jobs.must(func(ctx context.Context) { s.renew(ctx, w) })
		}
	}
}

// isList tells whether an AOR is that of a list.
func (s *Service) isList(aor string) bool {
	user, _, _ := strings.Cut(aor, "@")
	return strings.EqualFold(user, s.o.List)
}

// renew compares a watch with the list of contacts.
func (s *Service) renew(ctx context.Context, w *watch) {
	w.mu.Lock()
	w.list.outdated = false
	w.mu.Unlock()
	defer s.settle(w)
	items, err := s.contactsOf(ctx, w.watcher())
	if err == nil {
		err = s.merge(ctx, w, items)
	}
	if err == nil {
		return
	}
	if errors.Is(err, errEntries) {
		// It is too long until it is changed, which is heard of, or until others end, which Again finds out.
		s.o.Log.Debug("presence: a list that is watched is too long", "aor", w.watcher(), "err", err)
		return
	}
	s.o.Log.Warn("presence: a list that is watched was not brought up to date; that is tried again", "aor", w.watcher(), "err", err)
	e := s.table.get(w.watcher())
	e.mu.Lock()
	e.renew = true
	e.mu.Unlock()
	s.alarm.set(e, time.Now().Add(retryLookup))
	s.unpin(e)
}

// merge makes the entries of a watch those of items: what is gone is told as such, what is new as any news.
func (s *Service) merge(ctx context.Context, w *watch, items []item) error {
	added := w.compare(items)
	if len(added) > 0 {
		if err := s.reserve(w.watcher(), len(added)); err != nil {
			return err
		}
	}
	people := make([]person, 0, len(added))
	for _, it := range added {
		p, err := s.prepare(ctx, w.watcher(), it)
		if err != nil {
			unpinAll(s, people)
			s.release(w.watcher(), len(added))
			return err
		}
		people = append(people, p)
	}
	lost, ok := s.exchange(w, items, added, people)
	if !ok {
		s.release(w.watcher(), len(added))
		unpinAll(s, people)
		return nil
	}
	for _, p := range lost {
		s.detach(w, p.e, p.at)
	}
	known := people[:0]
	for _, p := range people {
		if p.e != nil {
			known = append(known, p)
		}
	}
	s.attach(w, known)
	w.mu.Lock()
	news := w.live && (len(w.list.dirty) > 0 || w.list.whole)
	w.mu.Unlock()
	if news {
		w.teller.Notify()
	}
	return nil
}

// forget gives the places of removed entries back untold, so that they do not gather while there is no way to the watcher. The
// next body is about the whole list (RFC 4662 §5.2). w.mu is held.
func (w *watch) forget() {
	left := w.list.dirty[:0]
	for _, at := range w.list.dirty {
		if w.entries[at].flags&removed != 0 {
			w.free(at)
		} else {
			left = append(left, at)
		}
	}
	w.list.dirty, w.list.whole = left, true
}

// compare returns the items that have no entry.
func (w *watch) compare(items []item) (added []item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	have := w.places()
	for _, it := range items {
		if _, ok := have[it.uri]; !ok {
			added = append(added, it)
		}
	}
	return added
}

// places are the entries by URI; w.mu is held.
func (w *watch) places() map[string]uint32 {
	m := make(map[string]uint32, len(w.entries))
	for i := range w.entries {
		if w.entries[i].flags&(removed|vacant) == 0 {
			m[w.row(uint32(i)).uri] = uint32(i)
		}
	}
	return m
}

// exchange puts new people into the entries of a watch, marks those that are not among items as removed, and returns them. At
// of the new people is set. False when the watch has ended.
func (s *Service) exchange(w *watch, items, added []item, people []person) (lost []person, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil, false
	}
	have := w.places()
	for _, it := range items {
		if at, ok := have[it.uri]; ok {
			w.name(at, it.name)
			delete(have, it.uri)
		}
	}
	if len(have)+len(w.list.dirty) > s.o.Limits.ListEntries {
		w.forget()
	}
	for _, at := range have {
		en := &w.entries[at]
		if en.e != nil {
			lost = append(lost, person{e: en.e, at: at})
		}
		if en.flags&dirty == 0 {
			w.later(at)
		}
		en.flags |= removed
	}
	s.release(w.watcher(), len(have))
	w.list.size += len(added) - len(have)
	for i := range people {
		p := &people[i]
		if n := len(w.list.vacant); n > 0 {
			p.at = w.list.vacant[n-1]
			w.list.vacant = w.list.vacant[:n-1]
		} else {
			p.at = uint32(len(w.entries))
			w.entries = append(w.entries, entry{})
		}
		w.place(p, added[i])
		w.later(p.at)
	}
	return lost, true
}
