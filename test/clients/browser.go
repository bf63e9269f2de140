package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// browser is one Chromium with a page for each JsSIP user, driven by browser/drive.mjs.
type browser struct {
	lab     *lab
	origin  string // of the pages; the server must let it open WebSockets
	process *process
	journal *journal
}

func startBrowser(ctx context.Context, l *lab) (*browser, error) {
	program, err := exec.LookPath(chromium())
	if err != nil {
		return nil, fmt.Errorf("clients: %w", err)
	}
	port, err := l.ports(1)
	if err != nil {
		return nil, err
	}
	b := &browser{lab: l, origin: fmt.Sprintf("http://127.0.0.1:%d", port), journal: &journal{}}
	cmd := exec.Command("node", filepath.Join(l.root, "test", "clients", "browser", "drive.mjs"), fmt.Sprint(port))
	cmd.Env = append(os.Environ(), "CHROMIUM="+program, "TMPDIR="+l.dir)
	if b.process, err = l.start("browser", cmd, b.journal, nil); err != nil {
		return nil, err
	}
	e, err := b.journal.await(ctx, 2*patience, 0, "browser", func(e event) bool { return e.Event == "browser" })
	if err != nil {
		return nil, fmt.Errorf("clients: start Chromium: %w (see %s)", err, filepath.Join(l.dir, "browser.log"))
	}
	l.adopt(e.Code)
	return b, nil
}

func (b *browser) stop() {
	_, _ = b.process.stop(5*time.Second, func() { _ = b.process.command("quit") })
}

// page is one JsSIP user.
type page struct {
	account
	person   string // a user may have several pages, one after the other
	instance string // +sip.instance (RFC 5626 §4.1): what makes them one device
	browser  *browser
	mark     int // where in the browser's journal this sign-in starts
}

func (p *page) user() string { return p.person }

func (p *page) signIn(ctx context.Context) error {
	server := p.server.ws
	if p.transport() == "wss" {
		server = p.server.wss
	}
	p.mark = p.browser.journal.mark()
	if err := p.browser.process.command("open", p.name, server, p.user()+"@"+domain, p.server.password, p.instance); err != nil {
		return err
	}
	e, err := p.await(ctx, "registration", func(e event) bool { return e.Event == "registration" || e.Event == "error" })
	if err == nil && e.State != "Ok" {
		err = fmt.Errorf("clients: registration refused: %d %s", e.Code, e.Text)
	}
	return err
}

// await waits for an event of this page since it signed in.
func (p *page) await(ctx context.Context, what string, match func(event) bool) (event, error) {
	return p.awaitFrom(ctx, p.mark, what, match)
}

func (p *page) awaitFrom(ctx context.Context, mark int, what string, match func(event) bool) (event, error) {
	return p.browser.journal.await(ctx, patience, mark, what, func(e event) bool { return e.Client == p.name && match(e) })
}

func (p *page) send(ctx context.Context, to, text string) error {
	mark := p.browser.journal.mark()
	if err := p.browser.process.command("message", p.name, to, text); err != nil {
		return err
	}
	e, err := p.awaitFrom(ctx, mark, "answer to a message", func(e event) bool { return e.Event == "sent" || e.Event == "error" })
	if err == nil && e.State != "Ok" {
		err = fmt.Errorf("clients: message refused: %d %s", e.Code, e.Text)
	}
	return err
}

func (p *page) received(ctx context.Context, from, text string) (time.Time, error) {
	e, err := p.await(ctx, fmt.Sprintf("message %q", firstLine(text)), func(e event) bool {
		return e.Event == "message" && isFrom(e.From, from) && same(text, e.Text)
	})
	if e.Time == 0 {
		return time.Time{}, err
	}
	return time.Unix(e.Time, 0), err
}

func (p *page) dial(to string) error { return p.browser.process.command("dial", p.name, to) }
func (p *page) hangUp() error        { return p.browser.process.command("hangUp", p.name) }

func (p *page) awaitCall(ctx context.Context, mark int, state string) error {
	e, err := p.awaitFrom(ctx, mark, "call "+state, func(e event) bool {
		return e.Event == "call" && (e.State == state || e.State == "failed") || e.Event == "error"
	})
	if err == nil && e.State != state {
		err = fmt.Errorf("clients: the call failed: %s", e.Text)
	}
	return err
}

// stats asks the page what the audio of its call has carried so far.
func (p *page) stats(ctx context.Context) (event, error) {
	mark := p.browser.journal.mark()
	if err := p.browser.process.command("stats", p.name); err != nil {
		return event{}, err
	}
	return p.awaitFrom(ctx, mark, "statistics", func(e event) bool { return e.Event == "stats" })
}

func (p *page) signOut() {
	mark := p.browser.journal.mark()
	if p.browser.process.command("close", p.name) == nil {
		_, _ = p.awaitFrom(context.Background(), mark, "close", func(e event) bool { return e.Event == "closed" || e.Event == "error" })
	}
}
