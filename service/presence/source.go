package presence

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/dialog"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/rlmi"
	"github.com/parley-im/parley/wire/sip"
)

// Package is the name of the event package of RFC 3856.
const Package = "presence"

// Option tags: of lists (RFC 4662 §4.1), and of lists in the body of a SUBSCRIBE (RFC 5367 §5).
const (
	eventList     = "eventlist"
	recipientList = "recipient-list-subscribe"
)

// Extensions are the option tags that a SUBSCRIBE may require.
func Extensions() []string { return []string{eventList, recipientList} }

// Types are the media types of NOTIFY bodies, the default one first.
func Types() []string {
	return []string{pidf.ContentType, pidf.DiffContentType, rlmi.MultipartType, rlmi.ContentType}
}

// Source is the source of the presence event package, for a dialog.Notifier.
type Source struct{ s *Service }

var (
	_ dialog.Source  = Source{}
	_ dialog.Asker   = Source{}
	_ dialog.Stepper = Source{}
	_ dialog.Ender   = Source{}
)

// Source is the source of the presence event package.
func (s *Service) Source() Source { return Source{s} }

// Authorize implements dialog.Source; Ask comes instead.
func (x Source) Authorize(_ *dialog.Subscription, done func(dialog.Decision)) {
	done(dialog.Decision{Status: 500})
}

// State implements dialog.Source; Next comes instead.
func (x Source) State(*dialog.Subscription) (string, []byte) { return "", nil }

// Ask decides about a SUBSCRIBE: to one person (RFC 3856 §6.6.2), to the watcher's own list of contacts (RFC 4662 §4.4), or to the
// list that is in it (RFC 5367 §5).
func (x Source) Ask(sub *dialog.Subscription, m *sip.Message, done func(dialog.Decision)) {
	s := x.s
	if !s.ready.Load() {
		done(busy())
		return
	}
	items, found, refuse := s.recipients(m)
	switch {
	case refuse != nil:
		done(*refuse)
	case found:
		s.askList(sub, m, items, false, done)
	case s.isList(sub.Resource()):
		s.askList(sub, m, nil, true, done)
	default:
		s.askPerson(sub, m, done)
	}
}

// askPerson decides about a subscription to one person.
func (s *Service) askPerson(sub *dialog.Subscription, m *sip.Message, done func(dialog.Decision)) {
	aor := sub.Resource()
	if !s.ours(aor) {
		done(nobody())
		return
	}
	diff := partial(m)
	if !diff && !sub.Accepts(pidf.ContentType) {
		done(dialog.Decision{Status: 406, Headers: [][2]string{{"Accept", pidf.ContentType + ", " + pidf.DiffContentType}}})
		return
	}
	w := &watch{teller: sub, since: now(), diff: diff}
	s.o.Accounts.Lookup(aor, func(_ *store.User, err error) {
		switch {
		case errors.Is(err, errs.NotFound):
			done(nobody())
			return
		case err != nil:
			done(failed(err))
			return
		}
		p := s.find(aor)
		p.e.exists.Store(there)
		if level, ok := s.o.Contacts.Known(aor, w.watcher()); ok {
			p.level = level
			s.startPerson(sub, w, p, done)
			return
		}
		ok := s.jobs.try(func(ctx context.Context) {
			if err := s.judge(ctx, &p, w.watcher()); err != nil {
				s.unpin(p.e)
				done(failed(err))
				return
			}
			s.startPerson(sub, w, p, done)
		})
		if !ok {
			s.unpin(p.e)
			done(busy())
		}
	})
}

// startPerson begins a subscription to one person. Who is blocked is not told so: the document says that the person is
// offline (polite blocking, RFC 3856 §6.6.2).
func (s *Service) startPerson(sub *dialog.Subscription, w *watch, p person, done func(dialog.Decision)) {
	w.one[0] = entry{e: p.e, level: p.level}
	w.entries = w.one[:]
	sub.SetData(w)
	s.attach(w, []person{p})
	done(dialog.Decision{})
	w.start()
}

// Next is the body of the next NOTIFY.
func (x Source) Next(sub *dialog.Subscription, full bool) (contentType string, body []byte, more, ok bool) {
	w, _ := sub.Data().(*watch)
	if w == nil {
		return "", nil, false, false
	}
	version := sub.Version()
	if w.list == nil {
		contentType, body, ok = w.single(full, version)
		return contentType, body, false, ok
	}
	return w.bundle(full, version)
}

// Ended forgets a subscription.
func (x Source) Ended(sub *dialog.Subscription) {
	if w, _ := sub.Data().(*watch); w != nil {
		x.s.end(w)
	}
}

// end forgets a watch.
func (s *Service) end(w *watch) {
	s.detachAll(w)
	if w.list == nil {
		return
	}
	w.mu.Lock()
	size := w.list.size
	w.list.size = 0
	w.mu.Unlock()
	s.release(w.watcher(), size)
	if w.list.contacts {
		s.delist(w)
	}
}

func nobody() dialog.Decision {
	return dialog.Decision{Status: 404, Warning: "there is no such address here"}
}

// busy is no 503: after that a client would send nothing at all to this server for a while, or go to another one
// (RFC 3261 §21.5.4, RFC 3263 §4.3).
func busy() dialog.Decision {
	return dialog.Decision{Status: 500, Warning: "too much to do at the moment; try again", Headers: [][2]string{{"Retry-After", "5"}}}
}

func failed(err error) dialog.Decision {
	if k := errs.KindOf(err); !k.Temporary() {
		return dialog.Decision{Status: k.SIP()}
	}
	return busy()
}

// hasToken looks for an option tag.
func hasToken(m *sip.Message, id sip.HeaderID, token string) bool {
	for v := range m.Values(id) {
		if strings.EqualFold(strings.TrimSpace(v), token) {
			return true
		}
	}
	return false
}

// partial tells whether a watcher takes partial documents (RFC 5263 §4.3): names their type itself, and does not prefer the other.
func partial(m *sip.Message) bool {
	diff, full := -1, -1 // thousandths
	for v := range m.Values(sip.HAccept) {
		t, params := sip.SplitMediaType(v)
		switch t {
		case pidf.DiffContentType:
			diff = quality(params)
		case pidf.ContentType:
			full = quality(params)
		}
	}
	return diff > 0 && diff >= full
}

// quality is the q parameter in thousandths (RFC 3261 §20.1); 1000 when it is missing or no number.
func quality(params sip.Params) int {
	q, ok := params.Get("q")
	f, err := strconv.ParseFloat(q, 64)
	if !ok || err != nil || f < 0 || f > 1 {
		return 1000
	}
	return int(f * 1000)
}

// room is how large the bodies about a list may be on the way that a SUBSCRIBE came.
func (s *Service) room(m *sip.Message) int {
	if v, err := m.TopVia(); err == nil && v.Transport != "UDP" {
		return s.o.Limits.StreamBody
	}
	return s.o.Limits.DatagramBody
}
