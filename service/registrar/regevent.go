package registrar

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/wire/reginfo"
	"github.com/parley-im/parley/wire/sip"
)

// RegPackage is the name of the event package of RFC 3680.
const RegPackage = "reg"

const (
	// A contact that is gone is shown in notifications for this long, so that a watcher
	// learns why (RFC 3680 §4.7.1: the terminated state).
	showGone    = time.Minute
	maxGone     = 20     // of one address
	maxGoneAORs = 10_000 // addresses with something gone
)

// Notifier is told that the state of an address changed; dialog.Notifier has it.
type Notifier interface{ Notify(resource string) }

// RegEvent is the source of the reg event package: who is registered, for the account
// itself and for administrators. It is a dialog.Source.
type RegEvent struct {
	s *Registrar

	mu       sync.Mutex // guards what follows
	notifier Notifier
	gone     map[string][]gone
}

type gone struct {
	event Event
	at    time.Time
}

var _ dialog.Source = (*RegEvent)(nil)

// RegEvent makes the source. Call it once, before Serve; then SetNotifier.
func (s *Registrar) RegEvent() *RegEvent {
	e := &RegEvent{s: s, gone: make(map[string][]gone)}
	s.Watch(e.changed)
	return e
}

// SetNotifier says whom to tell of changes.
func (e *RegEvent) SetNotifier(n Notifier) {
	e.mu.Lock()
	e.notifier = n
	e.mu.Unlock()
}

// changed remembers what is gone and has watchers told.
func (e *RegEvent) changed(ev Event) {
	aor := ev.Binding.AOR
	e.mu.Lock()
	now := e.s.now()
	if ev.Kind != Registered && ev.Kind != Refreshed {
		if len(e.gone) >= maxGoneAORs {
			e.sweep(now)
		}
		if len(e.gone) < maxGoneAORs {
			list := append(e.gone[aor], gone{ev, now})
			e.gone[aor] = list[max(0, len(list)-maxGone):]
		}
	}
	n := e.notifier
	e.mu.Unlock()
	if n != nil {
		n.Notify(aor)
	}
}

// sweep forgets what was shown for long enough. The caller holds mu.
func (e *RegEvent) sweep(now time.Time) {
	for aor := range e.gone {
		e.recent(aor, now)
	}
}

// recent returns what is gone from an address since a moment ago. The caller holds mu.
func (e *RegEvent) recent(aor string, now time.Time) []gone {
	list := slices.DeleteFunc(slices.Clone(e.gone[aor]), func(g gone) bool { return now.Sub(g.at) > showGone })
	if len(list) == 0 {
		delete(e.gone, aor)
	} else {
		e.gone[aor] = list
	}
	return list
}

// Authorize lets an account watch itself, and administrators everybody (RFC 3680 §4.6).
func (e *RegEvent) Authorize(sub *dialog.Subscription, done func(dialog.Decision)) {
	w := sub.Watcher()
	if w.AOR != "" && (w.AOR == sub.Resource() || w.Admin) {
		done(dialog.Decision{State: dialog.Active})
		return
	}
	done(dialog.Decision{Status: 403, Reason: "Not Your Registrations", Warning: "You can watch only your own registrations"})
}

// State is the full state (RFC 3680 §5) with GRUUs (RFC 5628).
func (e *RegEvent) State(sub *dialog.Subscription) (contentType string, body []byte) {
	w := sub.Watcher()
	d := e.Document(sub.Resource(), w.AOR == sub.Resource())
	d.Version = sub.Version()
	return reginfo.ContentType, d.Bytes()
}

// Document is the registration state of an address. Temporary GRUUs are shown to those
// alone who may register it (RFC 5628 §5).
func (e *RegEvent) Document(aor string, temporary bool) *reginfo.Document {
	s := e.s
	now := s.now()
	list, epochs := s.snapshot(aor)
	r := reginfo.Registration{AOR: "sip:" + aor, ID: docID("r", aor), State: reginfo.Init}
	for _, b := range list {
		if !b.Expires.After(now) {
			continue
		}
		event := reginfo.Refreshed
		if b.Created.Equal(b.Updated) {
			event = reginfo.Registered
		}
		c := s.document(b, reginfo.Active, event, now)
		if b.Instance != "" {
			c.PubGRUU = s.PublicGRUU(aor, b.Instance)
			if t := epochs.of(b.Instance); temporary && t.epoch != 0 {
				c.TempGRUU, c.FirstCSeq = s.temporaryGRUU(b, t), t.first
			}
		}
		r.Contacts = append(r.Contacts, c)
		r.State = reginfo.Active
	}
	e.mu.Lock()
	past := e.recent(aor, now)
	e.mu.Unlock()
	for _, g := range past {
		b := g.event.Binding
		id := docID("c", aor, b.Key, b.Contact)
		if slices.ContainsFunc(r.Contacts, func(c reginfo.Contact) bool { return c.ID == id }) {
			continue // it is back, or it went twice
		}
		r.Contacts = append(r.Contacts, s.document(b, reginfo.Terminated, g.event.Kind.String(), g.at))
		if r.State == reginfo.Init {
			r.State = reginfo.Terminated
		}
	}
	return &reginfo.Document{Registrations: []reginfo.Registration{r}}
}

// document is one contact of a document, as it was at a time.
func (s *Registrar) document(b *Binding, state, event string, at time.Time) reginfo.Contact {
	cseq := b.CSeq
	c := reginfo.Contact{
		ID: docID("c", b.AOR, b.Key, b.Contact), State: state, Event: event,
		Duration: uint64(max(0, at.Sub(b.Created)/time.Second)), CallID: b.CallID, CSeq: &cseq, URI: b.Contact,
	}
	if state == reginfo.Active {
		left := uint64(b.left(at))
		c.Expires = &left
	}
	if b.Q != 1000 {
		c.Q = qText(b.Q)
	}
	for name, value := range sip.Params(b.Params).All() {
		if value != "" && strings.Trim(value, tokenChars) != "" {
			value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
		}
		c.Params = append(c.Params, reginfo.Param{Name: name, Value: value})
	}
	return c
}

const tokenChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"

// docID is an id that is the same in all documents for the same thing.
func docID(parts ...string) string {
	h := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return parts[0] + gruuText.EncodeToString(h[:10])
}
