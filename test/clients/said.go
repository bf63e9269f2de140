package main

import (
	"context"
	"fmt"
	"strings"
)

// said: what people do on pages beside writing, and what comes of it elsewhere.
func (m *matrix) said(ctx context.Context) {
	if m.parley == nil {
		return
	}
	page, other := m.webs[0], m.webs[1]
	m.message(ctx, page, other)
	m.message(ctx, other, page)
	m.pageReceipts(ctx)
	m.pageTyping(ctx)
	for _, to := range []client{m.baresips[2], m.linphones[0]} {
		m.changes(ctx, page, to)
	}
}

// message lets one write to another.
func (m *matrix) message(ctx context.Context, from, to client) {
	m.report.check("message", from.label()+" → "+to.label(), func() (string, error) {
		if err := m.ready(from, to); err != nil {
			return "", err
		}
		message := m.compose(from, to)
		if err := from.send(ctx, address(to), message.text); err != nil {
			return "", err
		}
		_, err := to.received(ctx, from.user(), message.text)
		return "three lines, word for word", err
	})
}

// pageReceipts: a page shows how far its message has come, and liblinphone hears what a page has shown.
func (m *matrix) pageReceipts(ctx context.Context) {
	page, phone := m.webs[0], m.linphones[0]
	m.report.check("receipts", page.label()+" → "+phone.label(), func() (string, error) {
		if err := m.ready(page, phone); err != nil {
			return "", err
		}
		message := m.compose(page, phone)
		if err := page.send(ctx, address(phone), message.text); err != nil {
			return "", err
		}
		if err := page.reached(ctx, message.text, "Delivered"); err != nil {
			return "", err
		}
		if _, err := phone.received(ctx, page.user(), message.text); err != nil {
			return "", err
		}
		if err := phone.read(address(page)); err != nil {
			return "", err
		}
		return "the page shows delivered, then read", page.reached(ctx, message.text, "Read")
	})
	// The other page has nothing of the phone open, so it has the message before anybody sees it.
	other := m.webs[1]
	m.report.check("receipts", phone.label()+" → "+other.label(), func() (string, error) {
		if err := m.ready(other, phone); err != nil {
			return "", err
		}
		if err := phone.setCPIM(true); err != nil {
			return "", err
		}
		defer func() { _ = phone.setCPIM(false) }()
		message := m.compose(phone, other)
		if err := phone.send(ctx, address(other), message.text); err != nil {
			return "", err
		}
		if err := phone.awaitSent(ctx, message.text, "DeliveredToUser"); err != nil {
			return "", err
		}
		if _, err := other.received(ctx, phone.user(), message.text); err != nil {
			return "", err
		}
		return "CPIM; delivered came back when the page had it, displayed when it showed it", phone.awaitSent(ctx, message.text, "Displayed")
	})
}

// pageTyping: is-composing passes between a page and liblinphone.
func (m *matrix) pageTyping(ctx context.Context) {
	page, phone := m.webs[0], m.linphones[2]
	m.report.check("typing", page.label()+" → "+phone.label(), func() (string, error) {
		if err := m.ready(page, phone); err != nil {
			return "", err
		}
		mark := phone.journal.mark()
		if err := page.typing(address(phone)); err != nil {
			return "", err
		}
		if err := phone.composing(ctx, mark, page.user()); err != nil {
			return "", err
		}
		_, err := page.do(ctx, "clear", phone.user()+"@"+domain)
		return "seen", err
	})
	m.report.check("typing", phone.label()+" → "+page.label(), func() (string, error) {
		if err := m.ready(page, phone); err != nil {
			return "", err
		}
		if err := phone.typing(address(page)); err != nil {
			return "", err
		}
		return "seen", page.composing(ctx, 0, phone.user())
	})
}

// changes: what is done to messages on a page comes to a client as a text that people understand.
func (m *matrix) changes(ctx context.Context, page *web, to client) {
	peer := to.user() + "@" + domain
	var old, next string
	check := func(what string, act func() (want string, err error)) {
		m.report.check("change", fmt.Sprintf("%s on %s → %s", what, page.label(), to.label()), func() (string, error) {
			if err := m.ready(page, to); err != nil {
				return "", err
			}
			want, err := act()
			if err != nil {
				return "", err
			}
			_, err = to.received(ctx, page.user(), want)
			return firstLine(want), err
		})
	}
	check("edit", func() (string, error) {
		old = m.word() + " morgen um zehn?"
		next = strings.Replace(old, "zehn", "elf, Grüße", 1)
		if err := page.send(ctx, address(to), old); err != nil {
			return "", err
		}
		if _, err := to.received(ctx, page.user(), old); err != nil {
			return "", err
		}
		_, err := page.do(ctx, "edit", peer, old, next)
		return "Edited: " + next, err
	})
	check("retraction", func() (string, error) {
		_, err := page.do(ctx, "retract", peer, next)
		return "Deleted: “" + next + "”", err
	})
	answered := m.word() + " wer kommt mit?"
	check("reaction", func() (string, error) {
		if err := to.send(ctx, address(page), answered); err != nil {
			return "", err
		}
		if _, err := page.received(ctx, to.user(), answered); err != nil {
			return "", err
		}
		_, err := page.do(ctx, "react", peer, answered, "👍")
		return "👍 to “" + answered + "”", err
	})
	check("reply", func() (string, error) {
		answer := m.word() + " ich <b>auch</b>"
		_, err := page.do(ctx, "reply", peer, answered, answer)
		return "> " + answered + "\n\n" + answer, err
	})
}
