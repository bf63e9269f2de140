package server

import (
	"context"
	"strings"

	"github.com/parley-im/parley/api"
	"github.com/parley-im/parley/bus"
	"github.com/parley-im/parley/service/conversation"
	"github.com/parley-im/parley/service/feed"
	"github.com/parley-im/parley/service/presence"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/service/setting"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
)

// telling is what tells people what was said, and what happens.
type telling struct {
	feed          *feed.Hub
	conversations *conversation.Service
}

// buildFeed makes what tells people what was said, and what happens. It is made after the presence agent.
func (s *Server) buildFeed() error {
	talks := s.store.sql.Talks()
	s.feed = feed.New(feed.Options{
		Records: s.store.Log, Index: s.store.Index, Talks: talks, Since: s.since, Taken: s.taken, Follow: s.follow, Contacts: s.contactsOf,
		Took: s.message.Took, Limits: feed.Limits{Streams: s.cfg.Limits.Streams}, Log: s.log, Registerer: s.registry,
	})
	s.conversations = conversation.New(conversation.Options{
		Log: s.store.Log, Index: s.store.Index, Talks: talks, Drafts: s.store.sql.Drafts(), User: s.account, Taken: s.taken, TellsRead: s.tellsRead,
		DraftChanged: func(owner, device, peer string) {
			bus.Publish(s.bus, bus.DraftChanged{Owner: owner, Device: device, Peer: peer})
		},
	})
	s.streams.online = func(aor, id string) bool {
		for _, x := range s.feed.Online(aor) {
			if x.ID == id {
				return true
			}
		}
		return false
	}
	s.streams.idle = s.feed.SetIdle
	s.streams.typing = s.feed.Typing
	s.streams.settings = func(aor string) { bus.Publish(s.bus, bus.SettingsChanged{Owner: aor}) }
	s.streams.end = func(aor, id, but, reason string) {
		if id == "" {
			s.feed.EndAll(aor, but, reason)
			return
		}
		s.feed.End(id, reason)
	}
	s.feed.OnChange(s.presence.DevicesChanged)
	for _, subscribe := range []func() error{
		func() error {
			_, err := bus.Subscribe(s.bus, func(e bus.ContactsChanged) { s.feed.ContactsChanged(e.Owner, e.Version) })
			return err
		},
		func() error {
			_, err := bus.Subscribe(s.bus, func(e bus.DraftChanged) { s.feed.DraftChanged(e.Owner, e.Device, e.Peer) })
			return err
		},
		func() error {
			_, err := bus.Subscribe(s.bus, func(e bus.SettingsChanged) { s.feed.SettingsChanged(e.Owner) })
			return err
		},
	} {
		if err := subscribe(); err != nil {
			return err
		}
	}
	return nil
}

// account returns an account, from memory if it was asked for of late.
func (s *Server) account(ctx context.Context, aor string) (*store.User, error) {
	type answer struct {
		u   *store.User
		err error
	}
	done := make(chan answer, 1)
	s.auth.Accounts().Lookup(aor, func(u *store.User, err error) { done <- answer{u, err} })
	select {
	case a := <-done:
		return a.u, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// since is the position from which on an account may see what was said.
func (s *Server) since(ctx context.Context, aor string) (int64, error) {
	u, err := s.account(ctx, aor)
	if err != nil {
		return 0, err
	}
	return u.Since, nil
}

// taken is the position up to which some device of an account has taken everything.
func (s *Server) taken(ctx context.Context, aor string) (int64, error) {
	list, err := s.store.LoadCursors(ctx, aor)
	if err != nil || len(list) == 0 || list[0].Device != "" {
		return 0, err
	}
	return list[0].Seq, nil
}

// tellsRead says whether an account lets others know what it has read.
func (s *Server) tellsRead(ctx context.Context, aor string) (bool, error) {
	v, err := s.settings.Value(ctx, aor, setting.Receipts)
	return v != "off", err
}

func (s *Server) contactsOf(ctx context.Context, owner string) ([]string, error) {
	l, err := s.contacts.List(ctx, owner)
	if err != nil {
		return nil, err
	}
	list := make([]string, l.Len())
	for i := range list {
		list[i] = l.Address(i)
	}
	return list, nil
}

// follow watches people for an event stream.
func (s *Server) follow(ctx context.Context, watcher string, owners []string, f func(string, any)) (feed.Follower, error) {
	x, err := s.presence.Follow(ctx, watcher, owners, func(seen presence.Seen) { f(seen.AOR, seen) })
	if err != nil {
		return nil, err
	}
	return x, nil
}

// sessionDevices are the sessions of an account that have an event stream: devices like any other.
func (s *Server) sessionDevices(aor string) []compose.Device {
	if s.feed == nil {
		return nil
	}
	var list []compose.Device
	for _, x := range s.feed.Online(aor) {
		list = append(list, compose.Device{ID: x.Device, Class: pidf.DeviceClass(x.Kind), MaxMessage: uint32(s.cfg.Limits.Body),
			Service: &pidf.ServiceCaps{Message: pidf.Yes}, Since: x.Since, Idle: x.Idle})
	}
	return list
}

// deviceLabel is what a device is called for those who may see on what somebody reads.
func (s *Server) deviceLabel(ctx context.Context, viewer, owner, device string) string {
	if device == "" {
		return ""
	}
	if viewer != owner && !s.seesDevices(ctx, owner, viewer) {
		return ""
	}
	if strings.HasPrefix(device, "web:") {
		list, err := s.sessions.List(ctx, owner)
		if err != nil {
			return ""
		}
		for _, x := range list {
			if session.Device(x.ID) == device {
				return x.Label
			}
		}
		return ""
	}
	for _, b := range s.registrar.Bindings(owner) {
		if b.Device == device {
			product, _, _ := strings.Cut(b.UserAgent, " ")
			return strings.ReplaceAll(product, "/", " ")
		}
	}
	return ""
}

// seesDevices tells whether viewer may know on which devices owner is.
func (s *Server) seesDevices(ctx context.Context, owner, viewer string) bool {
	level, _, err := s.contacts.Level(ctx, owner, viewer)
	return err == nil && level.Sight().Device
}

// hides tells whether owner looks offline to viewer.
func (s *Server) hides(ctx context.Context, owner, viewer string) bool {
	answer := make(chan bool, 1)
	s.presence.AskHidden(owner, viewer, func(hidden bool) { answer <- hidden })
	select {
	case hidden := <-answer:
		return hidden
	case <-ctx.Done():
		return true
	}
}

// tellingOptions adds to what the API speaks for.
func (s *Server) tellingOptions(o api.Options) api.Options {
	o.Events, o.Conversations, o.Label, o.Hidden, o.Sight = s.feed, s.conversations, s.deviceLabel, s.hides, s.seesDevices
	return o
}
