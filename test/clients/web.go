package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// web is one person with Parley's own web client in Chromium, see browser/web.mjs.
type web struct {
	account
	person  string // a person may have several windows, one after the other
	parley  *parley
	browser *browser
	asked   atomic.Int64 // the last question
}

func (w *web) user() string { return w.person }

// do has one action done and returns what the page answers.
func (w *web) do(ctx context.Context, action string, args ...string) (string, error) {
	id := w.asked.Add(1)
	mark := w.browser.journal.mark()
	if err := w.browser.process.command(append([]string{"web", w.name, fmt.Sprint(id), action}, args...)...); err != nil {
		return "", err
	}
	// The page gives up by itself, and says why; an action has several steps.
	e, err := w.browser.journal.await(ctx, 4*patience, mark, "answer of the page to "+action, func(e event) bool {
		return e.Event == "done" && e.Client == w.name && e.Code == int(id)
	})
	if err == nil && e.State != "Ok" {
		err = fmt.Errorf("clients: %s", strings.Join(strings.Fields(e.Text), " "))
		// A picture tells more than words; without one the words remain.
		if action != "picture" && action != "open" {
			_, _ = w.do(ctx, "picture", filepath.Join(w.lab.dir, fmt.Sprintf("%s-%d.png", w.person, id)))
		}
	}
	return e.Text, err
}

// signIn fills in the form. Each time it is a new session, and so a new device.
func (w *web) signIn(ctx context.Context) error {
	_, err := w.do(ctx, "open", w.transport()+"://"+w.parley.http, w.person+"@"+domain, w.parley.password)
	return err
}

// send returns when the page shows that the server has the text.
func (w *web) send(ctx context.Context, to, text string) error {
	_, err := w.do(ctx, "send", strings.TrimPrefix(to, "sip:"), text)
	return err
}

// received reads what the conversation shows. Its times are those of a clock without seconds.
func (w *web) received(ctx context.Context, from, text string) (time.Time, error) {
	_, err := w.do(ctx, "read", from+"@"+domain, text)
	return time.Time{}, err
}

// typing begins to write to somebody.
func (w *web) typing(to string) error {
	_, err := w.do(context.Background(), "typing", strings.TrimPrefix(to, "sip:"))
	return err
}

func (w *web) composing(ctx context.Context, _ int, from string) error {
	_, err := w.do(ctx, "composing", from+"@"+domain)
	return err
}

// reached waits until an own message is shown as delivered or read.
func (w *web) reached(ctx context.Context, text, state string) error {
	_, err := w.do(ctx, "reached", text, state)
	return err
}

func (w *web) watch(ctx context.Context, others []string) error {
	for i, user := range others {
		others[i] = user + "@" + domain
	}
	_, err := w.do(ctx, "contacts", others...)
	return err
}

func (w *web) sees(ctx context.Context, user, state string) error {
	_, err := w.do(ctx, "sees", user+"@"+domain, state, fmt.Sprint(notice.Milliseconds()))
	return err
}

func (w *web) shows(state string) string { return state }

// setBusy says "do not disturb", which other clients show as busy.
func (w *web) setBusy(on bool) error {
	_, err := w.do(context.Background(), "presence", map[bool]string{true: "Do not disturb", false: "Automatic"}[on])
	return err
}

// signOut closes the window: nobody signs out of a page.
func (w *web) signOut() { _, _ = w.do(context.Background(), "close") }
