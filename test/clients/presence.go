package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// The states that the run goes through, as a person reads them.
const (
	here    = "available"
	busy    = "busy"
	onPhone = "on-the-phone"
	gone    = "offline"
)

// notice is how long a change may take until others see it: 5 s in which the server joins changes (RFC 3856 §6.10), and
// some clients subscribe only several seconds after they have signed in. A page that was closed counts as there for another
// 30 s, as it might only be loaded anew.
const notice = 90 * time.Second

// watcher is a client that shows who is there.
type watcher interface {
	client

	// watch subscribes to others for as long as the client is signed in.
	watch(ctx context.Context, others []string) error

	// sees returns when the client shows somebody in a state, or in what it has instead of it.
	sees(ctx context.Context, user, state string) error

	// shows is what the client has instead of a state.
	shows(state string) string
}

// sees returns when the last that a program told about somebody is the state.
func (j *journal) sees(ctx context.Context, program, user, state string) error {
	ctx, cancel := context.WithTimeout(ctx, notice)
	defer cancel()
	last := "nothing"
	err := j.changes.await(ctx, func() bool {
		for i := len(j.events) - 1; i >= 0; i-- {
			if e := j.events[i]; e.Event == "presence" && e.Client == program && isFrom(e.From, user) {
				last = e.State
				return last == state
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("%s is not shown as %s within %v, but as %s: %w", user, state, notice, last, err)
	}
	return nil
}

func (c *linphone) watch(_ context.Context, others []string) error {
	fields := []string{"watch", "sip:contacts@" + domain}
	for _, user := range others {
		fields = append(fields, "sip:"+user+"@"+domain)
	}
	return c.process.command(fields[0], fields[1], strings.Join(fields[2:], " "))
}

func (c *linphone) sees(ctx context.Context, user, state string) error {
	return c.journal.sees(ctx, "", user, c.shows(state))
}

func (c *linphone) shows(state string) string { return state }

func (c *purple) watch(_ context.Context, others []string) error {
	for _, user := range others {
		if err := c.process.command("watch", "sip:"+user+"@"+domain); err != nil {
			return err
		}
	}
	return nil
}

// sees has libpurple say something now and then: over TCP it takes one message from each read, and so the second of two
// that come together waits for a third.
func (c *purple) sees(ctx context.Context, user, state string) error {
	seen := make(chan error, 1)
	go func() { seen <- c.journal.sees(ctx, "", user, c.shows(state)) }()
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	for {
		select {
		case err := <-seen:
			return err
		case <-again.C:
			if err := c.process.command("typing", "page2@"+domain); err != nil { // who does not answer
				return err
			}
		}
	}
}

// shows: SIMPLE reads PIDF's <basic> and nothing else.
func (c *purple) shows(state string) string {
	if state == gone {
		return gone
	}
	return here
}

func (p *page) watch(_ context.Context, others []string) error {
	for _, user := range others {
		if err := p.browser.process.command("watch", p.name, "sip:"+user+"@"+domain); err != nil {
			return err
		}
	}
	return nil
}

func (p *page) sees(ctx context.Context, user, state string) error {
	return p.browser.journal.sees(ctx, p.name, user, p.shows(state))
}

func (p *page) shows(state string) string { return state }

// watch: baresip subscribes to those in its contact list who are marked so, from its start on; see configure.
func (b *baresip) watch(context.Context, []string) error { return nil }

// shows: baresip has three states.
func (b *baresip) shows(state string) string {
	switch state {
	case here:
		return "Online"
	case busy, onPhone:
		return "Busy"
	}
	return "Offline"
}

// sees asks for the list of contacts again and again: baresip tells of no change.
func (b *baresip) sees(ctx context.Context, user, state string) error {
	limited, cancel := context.WithTimeout(ctx, notice)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	last := "nothing"
	for {
		list, err := b.command(ctx, "contacts", "")
		if err == nil {
			err = limited.Err()
		}
		if err != nil {
			return fmt.Errorf("%s is not shown as %s within %v, but as %s: %w", user, b.shows(state), notice, last, err)
		}
		for line := range strings.Lines(list) {
			if strings.Contains(line, "sip:"+user+"@"+domain) {
				last = strings.TrimSpace(colours.Replace(line))
				if strings.Contains(last, b.shows(state)) {
					return nil
				}
			}
		}
		select {
		case <-again.C:
		case <-limited.Done():
		}
	}
}

// colours are what baresip paints states with on a terminal.
var colours = strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[;m", "")

// scene is one client among the four that watch each other, and what it can do by itself.
type scene struct {
	watcher
	busy func(on bool) error // says "busy", or takes it back
	how  string              // in which way
	call func(ctx context.Context) (hangUp func() error, err error)
}

// presence: each kind of client watches each other kind, and sees it go, come, be busy, and take a call.
func (m *matrix) presence(ctx context.Context) {
	scenes := m.scenes()
	seen := map[[2]watcher]*sight{}
	for _, w := range scenes {
		for _, p := range scenes {
			if w.watcher != p.watcher {
				seen[[2]watcher{w.watcher, p.watcher}] = &sight{}
			}
		}
	}
	// expect lets everybody else see somebody in a state.
	expect := func(p scene, state, what string) {
		var group sync.WaitGroup
		for _, w := range scenes {
			if s := seen[[2]watcher{w.watcher, p.watcher}]; s != nil && s.err == nil {
				group.Go(func() { s.note(what, w.sees(ctx, p.user(), state)) })
			}
		}
		group.Wait()
	}
	failed := func(p scene, err error) {
		for _, w := range scenes {
			if s := seen[[2]watcher{w.watcher, p.watcher}]; s != nil {
				s.note("", err)
			}
		}
	}
	each := func(act func(p scene)) {
		var group sync.WaitGroup
		for _, p := range scenes {
			group.Go(func() { act(p) })
		}
		group.Wait()
	}
	start := time.Now()
	// What libpurple has not taken from its connection yet would be in front of all that is to come.
	m.purples[1].signOut()
	if err := m.purples[1].signIn(ctx); err != nil {
		m.report.add(row{group: "presence", what: m.purples[1].label() + " signs in anew", took: time.Since(start), err: err})
		return
	}
	each(func(p scene) { failed(p, m.watch(ctx, p, scenes)) })
	each(func(p scene) { expect(p, here, "here") })
	for _, p := range scenes { // one at a time: who is away sees nothing
		p.signOut()
		expect(p, gone, "gone")
		failed(p, p.signIn(ctx))
		failed(p, m.watch(ctx, p, scenes))
		expect(p, here, "here again")
	}
	each(func(p scene) {
		failed(p, p.busy(true))
		expect(p, busy, "busy ("+p.how+")")
		failed(p, p.busy(false))
		expect(p, here, "here")
	})
	each(func(p scene) {
		if p.call == nil {
			return
		}
		hangUp, err := p.call(ctx)
		failed(p, err)
		if err == nil {
			expect(p, onPhone, "on the phone")
			failed(p, hangUp())
			expect(p, here, "here")
		}
	})
	for _, w := range scenes {
		for _, p := range scenes {
			if s := seen[[2]watcher{w.watcher, p.watcher}]; s != nil {
				m.report.add(row{group: "presence", what: w.label() + " sees " + p.label(), result: strings.Join(s.steps, ", "), took: time.Since(start), err: s.err})
			}
		}
	}
}

// sight is what one client has seen of another.
type sight struct {
	mu    sync.Mutex
	steps []string
	err   error // the first
}

func (s *sight) note(step string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
	case err != nil:
		s.err = err
		if step != "" {
			s.err = fmt.Errorf("%s: %w", step, err)
		}
	case step != "":
		s.steps = append(s.steps, step)
	}
}

// watch lets a client watch all others.
func (m *matrix) watch(ctx context.Context, w scene, scenes []scene) error {
	var others []string
	for _, p := range scenes {
		if p.watcher != w.watcher {
			others = append(others, p.user())
		}
	}
	return w.watch(ctx, others)
}

// scenes are one client of each kind. Those that cannot say "busy" have it said by the command line.
func (m *matrix) scenes() []scene {
	byHand := func(c client) func(bool) error {
		return func(on bool) error {
			state := map[bool]string{true: "busy", false: "auto"}[on]
			return m.parley.setPresence(context.Background(), c.user(), state)
		}
	}
	// Over UDP libpurple leaves without a word.
	b, l, p, j := m.baresips[0], m.linphones[1], m.purples[1], m.pages[0]
	return []scene{
		{watcher: m.webs[0], busy: m.webs[0].setBusy, how: "do not disturb, set on the page"},
		{watcher: b, busy: byHand(b), how: "set by hand", call: func(ctx context.Context) (func() error, error) {
			mark := b.mark()
			if _, err := b.command(ctx, "dial", address(m.linphones[2])); err != nil {
				return nil, err
			}
			return func() error { _, err := b.command(ctx, "hangup", ""); return err }, b.awaitCall(ctx, mark, "CALL_ESTABLISHED")
		}},
		{watcher: l, busy: l.setBusy, how: "published", call: func(ctx context.Context) (func() error, error) {
			mark := l.journal.mark()
			if err := l.process.command("call", address(m.baresips[1])); err != nil {
				return nil, err
			}
			return func() error { return l.process.command("hangup") }, l.awaitCall(ctx, mark, "StreamsRunning")
		}},
		{watcher: p, busy: byHand(p), how: "set by hand"}, // it has no calls
		{watcher: j, busy: byHand(j), how: "set by hand", call: func(ctx context.Context) (func() error, error) {
			mark := m.browser.journal.mark()
			if err := j.dial(address(m.pages[1])); err != nil {
				return nil, err
			}
			return j.hangUp, j.awaitCall(ctx, mark, "confirmed")
		}},
	}
}

// setBusy publishes PIDF with RPID.
func (c *linphone) setBusy(on bool) error {
	return c.process.command("presence", map[bool]string{true: "busy", false: "online"}[on])
}

// setPresence says on the command line how somebody is.
func (p *parley) setPresence(ctx context.Context, user, state string) error {
	_, err := p.lab.run(ctx, patience, "", p.program, "presence", "set", user+"@"+domain, state, "-c", p.config)
	return err
}
