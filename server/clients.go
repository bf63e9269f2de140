package server

import (
	"context"
	"strings"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/message"
)

// clients tells the message service of the programs at devices.
type clients struct {
	s   *Server
	web string // where the web client is, "" for nowhere
}

// Agent is the User-Agent of the latest registration of a device. Whatever an app with liblinphone calls itself, it may say what it is
// in its Contact.
func (c clients) Agent(aor, device string) string {
	agent := ""
	for _, b := range c.s.registrar.Bindings(aor) {
		switch {
		case b.Device != device:
		case strings.Contains(b.Params, ";+org.linphone.specs"):
			agent = "linphone " + b.UserAgent
		case b.UserAgent != "":
			agent = b.UserAgent
		}
	}
	return agent
}

// Limit is what presence knows of a device; what the server takes itself is no limit.
func (c clients) Limit(aor, device string) int {
	d, ok := c.s.presence.Device(aor, device)
	if !ok || int(d.MaxMessage) >= c.s.cfg.Limits.Body {
		return 0
	}
	return int(d.MaxMessage)
}

// Link is the page that shows a message in its conversation.
func (c clients) Link(message id.ID) string {
	if c.web == "" {
		return ""
	}
	return c.web + "/m/" + message.String()
}

// messageFiles is what keeps the files of messages, nil for nothing.
func (s *Server) messageFiles() message.Files {
	if s.file == nil {
		return nil
	}
	return s.file
}

// levels lets the message service ask the contact service, which is built after it.
type levels struct{ s *Server }

func (l levels) Known(owner, watcher string) (policy.Level, bool) {
	return people{l.s.contacts, l.s.cfg.Domains}.Known(owner, watcher)
}

func (l levels) Level(ctx context.Context, owner, watcher string) (policy.Level, policy.Reason, error) {
	return l.s.contacts.Level(ctx, owner, watcher)
}

// typing tells the event streams that somebody writes.
func (s *Server) typing(from, to string, active bool) {
	if s.streams.typing != nil {
		s.streams.typing(from, to, active)
	}
}
