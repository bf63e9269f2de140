package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
)

// files moves a file from a page to liblinphone and one back, and one from the page to baresip, whose user gets a link. liblinphone uploads
// with the password of its SIP account.
func (m *matrix) files(ctx context.Context) {
	if m.parley == nil {
		return
	}
	page, phone, desk := m.webs[0], m.linphones[1], m.baresips[1]
	data := make([]byte, 300_000)
	_, _ = rand.Read(data) // it never fails
	const name = "Übersicht \"neu\".bin"
	sent, received := filepath.Join(m.lab.dir, name), filepath.Join(m.lab.dir, "page-received.bin")
	check := func(from, to client, run func() (string, error)) {
		m.report.check("file", from.label()+" → "+to.label(), func() (string, error) {
			if err := m.ready(from, to); err != nil {
				return "", err
			}
			if err := os.WriteFile(sent, data, 0o600); err != nil {
				return "", fmt.Errorf("clients: %w", err)
			}
			return run()
		})
	}
	check(page, phone, func() (string, error) {
		mark, words := phone.journal.mark(), m.word()+" die Übersicht"
		if _, err := page.do(ctx, "file", phone.user()+"@"+domain, sent, words); err != nil {
			return "", err
		}
		if _, err := phone.received(ctx, page.user(), words); err != nil {
			return "", err
		}
		e, err := phone.journal.await(ctx, patience, mark, "a file", func(e event) bool { return e.Event == "file" && isFrom(e.From, page.user()) })
		if err != nil {
			return "", err
		}
		return "300 kB, byte for byte, with the words to it", holdsFile(e.Text, data)
	})
	check(page, desk, func() (string, error) {
		word := m.word()
		if _, err := page.do(ctx, "file", desk.user()+"@"+domain, sent, word+" die Übersicht"); err != nil {
			return "", err
		}
		link := regexp.MustCompile(word + ` die Übersicht\n+📎 ` + regexp.QuoteMeta(name) + ` \([0-9.]+ kB\)\n(http://\S+)"`)
		shown, err := desk.console.await(ctx, patience, "a link to the file", link.MatchString)
		if err != nil {
			return "", err
		}
		return "a text with a link; 300 kB, byte for byte, without signing in", fetched(ctx, link.FindStringSubmatch(shown)[1], data)
	})
	check(phone, page, func() (string, error) {
		path := filepath.Join(m.lab.dir, "bericht.bin")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return "", fmt.Errorf("clients: %w", err)
		}
		if err := phone.process.command("fileserver", m.parley.door("off")+"/files/rcs"); err != nil {
			return "", err
		}
		if err := phone.process.command("file", address(page), path); err != nil {
			return "", err
		}
		as, err := page.do(ctx, "save", phone.user()+"@"+domain, "bericht.bin", received)
		if err == nil && as != "bericht.bin" {
			err = fmt.Errorf("clients: it is saved as %q", as)
		}
		if err != nil {
			return "", err
		}
		return "300 kB, byte for byte; uploaded with the SIP password", holdsFile(received, data)
	})
}

// holdsFile compares a file with what it should be.
func holdsFile(path string, want []byte) error {
	got, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("clients: %d bytes came, and they are not what was sent", len(got))
	}
	return nil
}

// fetched gets a file as a browser that has never been here does.
func fetched(ctx context.Context, url string, want []byte) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !bytes.Equal(got, want)) {
		err = fmt.Errorf("clients: %s gives %s and %d bytes, which are not what was sent", url, answer.Status, len(got))
	}
	return err
}
