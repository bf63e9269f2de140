package message

import (
	"context"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/iscomposing"
	"github.com/parley-im/parley/wire/sip"
)

// typingRefresh is how long SIP devices show that somebody writes on a page who is not heard of again. Shorter ones are not
// recommended (RFC 3994 §3.2).
const typingRefresh = time.Minute

// SetTyping passes on that somebody writes to somebody, or has stopped. Whether anybody sees it is nobody's to know: who is
// blocked hears nothing else. Errors: Invalid for what is no address, NotFound and Forbidden for the receiver's account.
func (s *Service) SetTyping(ctx context.Context, from, to string, active bool) error {
	to, err := sip.ParseAOR(to)
	if err != nil {
		return err
	}
	state := iscomposing.State{State: "idle"}
	if active {
		state = iscomposing.State{State: "active", ContentType: "text/plain", Refresh: typingRefresh}
	}
	o := Outgoing{From: from, To: to}
	if _, err := s.receiver(ctx, &o); err != nil {
		return err
	}
	c := opened{typing: true, active: active, contentType: iscomposing.ContentType, body: state.Bytes(), known: !s.typings.news(from, to, active, time.Now())}
	s.passTyping(&o, c, func(Result) {})
	return nil
}

// passTyping hands a typing notice to the devices and pages that are there now. It is the only thing that passes
// without a record, and holds nothing but RFC 3994's elements; nobody waits for it and it is never kept.
func (s *Service) passTyping(o *Outgoing, c opened, done func(Result)) {
	if s.o.Quiet(o.To, o.From) {
		s.metrics.quiet.Inc()
		done(Result{Status: 200})
		return
	}
	if s.o.Levels == nil || o.From == o.To {
		s.spreadTyping(o, c, done)
		return
	}
	if level, known := s.o.Levels.Known(o.To, o.From); known {
		if level == policy.Blocked {
			done(Result{Status: 200}) // as if it had been passed on
			return
		}
		s.spreadTyping(o, c, done)
		return
	}
	s.readers.do(func(ctx context.Context) {
		if level, _, err := s.o.Levels.Level(ctx, o.To, o.From); err != nil || level == policy.Blocked {
			done(Result{Status: 200})
			return
		}
		s.spreadTyping(o, c, done)
	})
}

func (s *Service) spreadTyping(o *Outgoing, c opened, done func(Result)) {
	if s.o.Typing != nil && o.ToDevice == "" {
		s.o.Typing(o.From, o.To, c.active)
	}
	for _, t := range s.o.Devices.Devices(o.To) {
		if c.known || o.ToDevice != "" && o.ToDevice != t.Device {
			continue
		}
		d := newMessage(t, o.From, o.To, "", tagOf(o.From, t.URI), id.New().String())
		d.Add(sip.HExpires, "0") // RFC 3994 §4: of no use later
		d.Body(c.contentType, c.body)
		s.o.Transactions.Send(t.Hop, d, ignored{})
	}
	s.metrics.typing.Inc()
	done(Result{Status: 200})
}

// receiver waits until it is known that the account of o.To may be sent to.
func (s *Service) receiver(ctx context.Context, o *Outgoing) (*store.User, error) {
	u, err := s.account(ctx, o.To)
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return nil, err
	}
	if r := receivable(o, u, err); r != nil {
		return nil, r.err()
	}
	return u, nil
}

// typings remembers what SIP devices were told of those who write on pages, who say it every few seconds: devices are told
// once in a while (RFC 3994 §3.2: one message in a refresh interval), and of who begins and stops all the time not each time.
type typings struct {
	mu   sync.Mutex // guards told
	told map[string]typed
}

// typed is what devices were told last.
type typed struct {
	active bool
	at     time.Time // when they were told of writing
}

// maxTypings bounds it: with more people who write at once, devices are told more often.
const maxTypings = 10_000

// typingPause is the least time from one beginning to the next that devices are told of.
const typingPause = 2 * time.Second

func newTypings() *typings { return &typings{told: map[string]typed{}} }

// news tells whether devices have to be told, and takes it that they are.
func (t *typings) news(from, to string, active bool, now time.Time) bool {
	key := from + "\x00" + to
	t.mu.Lock()
	defer t.mu.Unlock()
	last, told := t.told[key]
	if !active {
		if last.active {
			t.told[key] = typed{at: last.at}
		}
		return last.active
	}
	least := typingPause
	if last.active {
		least = typingRefresh * 3 / 4
	}
	if told && now.Sub(last.at) < least {
		return false
	}
	if len(t.told) >= maxTypings {
		clear(t.told)
	}
	t.told[key] = typed{true, now}
	return true
}

// forget takes it that from has sent what was written.
func (t *typings) forget(from, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.told, from+"\x00"+to)
}

// ignored takes answers that change nothing.
type ignored struct{}

func (ignored) Response(*transaction.Client, *sip.Message) {}
func (ignored) Failed(*transaction.Client, error)          {}
