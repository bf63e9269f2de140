package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parleysdk "github.com/parley-im/parley/sdk/go"
)

// fileUser is somebody who has a page and no SIP client.
const fileUser = "page"

// files moves a file from a page, which is a session of the API, to liblinphone, and one back. liblinphone uploads with the password of its
// SIP account.
func (m *matrix) files(ctx context.Context) {
	if m.parley == nil {
		return
	}
	phone := m.linphones[1]
	var page *parleysdk.Client
	signedIn := func() error {
		if err := m.ready(phone); err != nil || page != nil {
			return err
		}
		if err := m.parley.addUser(ctx, fileUser); err != nil {
			return err
		}
		var err error
		page, err = parleysdk.SignIn(ctx, m.parley.door("off"), fileUser+"@"+domain, m.parley.password)
		return err
	}
	data := make([]byte, 300_000)
	_, _ = rand.Read(data) // it never fails
	m.report.check("file", "page → "+phone.label(), func() (string, error) {
		if err := signedIn(); err != nil {
			return "", err
		}
		mark := phone.journal.mark()
		f, err := page.Upload(ctx, phone.user()+"@"+domain, "Übersicht \"neu\".bin", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return "", err
		}
		if _, err := page.Send(ctx, &v1.SendRequest{Conversation: phone.user() + "@" + domain, File: f.Id}); err != nil {
			return "", err
		}
		e, err := phone.journal.await(ctx, patience, mark, "a file", func(e event) bool { return e.Event == "file" && isFrom(e.From, fileUser) })
		if err != nil {
			return "", err
		}
		got, err := os.ReadFile(e.Text)
		if err == nil && !bytes.Equal(got, data) {
			err = fmt.Errorf("clients: %d bytes came, and they are not what was sent", len(got))
		}
		return "300 kB, byte for byte", err
	})
	m.report.check("file", phone.label()+" → page", func() (string, error) {
		if err := signedIn(); err != nil {
			return "", err
		}
		path := filepath.Join(m.lab.dir, "bericht.bin")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return "", err
		}
		if err := phone.process.command("fileserver", m.parley.door("off")+"/files/rcs"); err != nil {
			return "", err
		}
		if err := phone.process.command("file", "sip:"+fileUser+"@"+domain, path); err != nil {
			return "", err
		}
		f, err := awaitFile(ctx, page, phone.user()+"@"+domain)
		if err != nil {
			return "", err
		}
		var got bytes.Buffer
		if err := page.Download(ctx, f, &got); err != nil {
			return "", err
		}
		if !bytes.Equal(got.Bytes(), data) || !strings.HasSuffix(f.Name, "bericht.bin") {
			return "", fmt.Errorf("clients: %d bytes of %q came, and they are not what was sent", got.Len(), f.Name)
		}
		return "300 kB, byte for byte; uploaded with the SIP password", nil
	})
}

// awaitFile looks until there is a file of somebody in the conversation.
func awaitFile(ctx context.Context, page *parleysdk.Client, from string) (*v1.File, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		list, err := page.Conversations.ListMessages(ctx, connect.NewRequest(&v1.ListMessagesRequest{Conversation: from}))
		if err != nil {
			return nil, err
		}
		for _, said := range list.Msg.Messages {
			if said.From == from && said.File != nil {
				return said.File, nil
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("clients: no file from %s: %w", from, ctx.Err())
		}
	}
}
