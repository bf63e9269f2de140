package api_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/api"
	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/service/presence"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/pidf"
)

// crowd fills the interfaces of the presence agent as package server does, over the store and with devices as a test has them.
type crowd struct {
	store    parts
	contacts *contact.Service
	agent    *presence.Service

	mu      sync.Mutex // guards what follows
	devices map[string][]compose.Device
}

func (c *crowd) Lookup(aor string, done func(*store.User, error)) {
	done(c.store.User(context.Background(), aor))
}

func (c *crowd) Level(ctx context.Context, owner, watcher string) (policy.Level, policy.Reason, error) {
	return c.contacts.Level(ctx, owner, watcher)
}

func (c *crowd) Contacts(context.Context, string) ([]presence.Contact, error) { return nil, nil }

func (c *crowd) Known(owner, watcher string) (policy.Level, bool) {
	level, _, err := c.contacts.Level(context.Background(), owner, watcher)
	return level, err == nil
}

func (c *crowd) at(aor string) []compose.Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.devices[aor])
}

func (c *crowd) signIn(aor string, devices ...compose.Device) {
	c.mu.Lock()
	c.devices[aor] = devices
	c.mu.Unlock()
	c.agent.DevicesChanged(aor)
}

// People see their own state with all it is made of, and set it.
func TestPresence(t *testing.T) {
	r := start(t)
	r.add("alice@example.com", "bob@example.com")
	since := time.Unix(1e9, 0).UTC()
	r.people.signIn("alice@example.com", compose.Device{ID: "desk", Contact: "sip:gruu", Class: pidf.DeskPhone, MaxMessage: 4096, Since: since,
		Line: pidf.Line{RTT: 85 * time.Millisecond, Throughput: pidf.Slow}, Service: &pidf.ServiceCaps{Audio: pidf.Yes, Video: pidf.No, Methods: pidf.Support{Yes: []string{"INVITE", "MESSAGE"}}}})
	r.people.agent.CallsChanged("alice@example.com", compose.Calls{Ringing: 1})
	alice := r.as("alice@example.com").Presence
	get := func() *v1.GetPresenceResponse {
		t.Helper()
		resp, err := alice.GetPresence(r.ctx, connect.NewRequest(&v1.GetPresenceRequest{Owner: "alice@example.com"}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg
	}
	set := func(m *v1.ManualPresence) (*v1.PresenceState, error) {
		resp, err := alice.SetPresence(r.ctx, connect.NewRequest(&v1.SetPresenceRequest{Owner: "alice@example.com", Manual: m}))
		if err != nil {
			return nil, err
		}
		return resp.Msg.State, nil
	}
	m := get()
	if m.State.Availability != "available" || m.Manual != nil || m.Ringing != 1 || m.Talking != 0 || len(m.Devices) != 1 {
		t.Errorf("signed in: %v", m)
	}
	if d := m.Devices[0]; d.Id != "desk" || d.Class != "desk-phone" || !d.Audio || d.Video || !d.Message || d.MaxMessage != 4096 || d.Contact != "sip:gruu" ||
		!d.SignedIn.AsTime().Equal(since) || d.Line.RoundTrip.AsDuration() != 85*time.Millisecond || d.Line.Throughput != "slow" {
		t.Errorf("device: %v", d)
	}
	won := func(m *v1.GetPresenceResponse) (list []string) {
		for _, s := range m.Sources {
			if s.Wins {
				list = append(list, s.Source)
			}
		}
		return list
	}
	if got := won(m); !slices.Equal(got, []string{"device"}) {
		t.Errorf("%v won of %v", got, m.Sources)
	}

	until := timestamppb.New(time.Now().Add(time.Hour).Truncate(time.Second))
	state, err := set(&v1.ManualPresence{Availability: "dnd", Note: "back at 14:00", Until: until})
	if err != nil || state.Availability != "dnd" || state.Note != "back at 14:00" || !proto.Equal(state.Until, until) || !strings.Contains(state.Reason, "by hand") {
		t.Errorf("set: %v, %v", state, err)
	}
	m = get()
	if m.Manual.GetAvailability() != "dnd" || m.Manual.Note != "back at 14:00" || !proto.Equal(m.Manual.Until, until) || m.Manual.Set == nil || !slices.Equal(won(m), []string{"by hand"}) {
		t.Errorf("by hand: %v", m)
	}

	_, err = set(&v1.ManualPresence{Availability: "lunch"})
	r.refused("no state", err, connect.CodeInvalidArgument, "there is no such state")
	_, err = set(&v1.ManualPresence{Availability: "in-call"})
	r.refused("a call", err, connect.CodeInvalidArgument, "by itself")
	_, err = set(&v1.ManualPresence{Availability: "busy", Until: timestamppb.New(time.Now().Add(-time.Second))})
	r.refused("a time that is over", err, connect.CodeInvalidArgument, "future")
	_, err = set(&v1.ManualPresence{Availability: "busy", Until: &timestamppb.Timestamp{Seconds: 1 << 40}})
	r.refused("a time that no document can name", err, connect.CodeInvalidArgument, "between the years")
	_, err = set(&v1.ManualPresence{Availability: "busy", Note: strings.Repeat("x", 1001)})
	r.refused("a long note", err, connect.CodeInvalidArgument, "too long")
	if m = get(); m.State.Availability != "dnd" {
		t.Errorf("after what was refused: %v", m.State)
	}
	if state, err = set(nil); err != nil || state.Availability != "available" || state.Note != "" {
		t.Errorf("left to the rest: %v, %v", state, err)
	}
}

// What one person sees of another, and why; the owner and administrators may ask.
func TestSeePresence(t *testing.T) {
	r := start(t)
	r.add("alice@example.com", "bob@example.com", "carol@example.com")
	r.people.signIn("alice@example.com", compose.Device{ID: "phone", Class: pidf.Phone, Since: time.Unix(1e9, 0)})
	alice, bob := r.as("alice@example.com"), r.as("bob@example.com")
	if _, err := alice.Presence.SetPresence(r.ctx, connect.NewRequest(&v1.SetPresenceRequest{Owner: "alice@example.com",
		Manual: &v1.ManualPresence{Availability: "busy", Note: "a note"}})); err != nil {
		t.Fatal(err)
	}
	see := func(c client, watcher string) (*v1.SeenPresence, error) {
		resp, err := c.Presence.SeePresence(r.ctx, connect.NewRequest(&v1.SeePresenceRequest{Owner: "sip:alice@EXAMPLE.com", Watcher: watcher}))
		if err != nil {
			return nil, err
		}
		return resp.Msg.Seen, nil
	}
	seen, err := see(bob, "")
	if err != nil || seen.Owner != "alice@example.com" || seen.Availability != "busy" || seen.Note != "a note" || len(seen.Devices) != 1 || seen.Devices[0].Class != "phone" {
		t.Errorf("bob: %v, %v", seen, err)
	}
	_, err = see(bob, "carol@example.com")
	r.refused("what carol sees, for bob", err, connect.CodePermissionDenied, "only administrators")
	_, err = bob.Presence.GetPresence(r.ctx, connect.NewRequest(&v1.GetPresenceRequest{Owner: "alice@example.com"}))
	r.refused("all of alice, for bob", err, connect.CodePermissionDenied, "only administrators")
	_, err = bob.Presence.ExplainPresence(r.ctx, connect.NewRequest(&v1.ExplainPresenceRequest{Owner: "alice@example.com", Watcher: "bob@example.com"}))
	r.refused("why bob sees it, for bob", err, connect.CodePermissionDenied, "only administrators")
	_, err = bob.Presence.ListWatchers(r.ctx, connect.NewRequest(&v1.ListWatchersRequest{Owner: "alice@example.com"}))
	r.refused("who watches alice, for bob", err, connect.CodePermissionDenied, "only administrators")
	_, err = r.Presence.SeePresence(r.ctx, connect.NewRequest(&v1.SeePresenceRequest{Owner: "nobody@example.com", Watcher: "bob@example.com"}))
	r.refused("nobody", err, connect.CodeNotFound, "there is no user nobody@example.com")
	_, err = r.Presence.SeePresence(r.ctx, connect.NewRequest(&v1.SeePresenceRequest{Owner: "alice@example.com", Watcher: "no address"}))
	r.refused("no address", err, connect.CodeInvalidArgument, "an address looks like")

	if _, err := alice.Contacts.SetLevel(r.ctx, connect.NewRequest(&v1.SetLevelRequest{Owner: "alice@example.com", Level: "blocked",
		Key: &v1.RelationKey{Kind: "person", Subject: "bob@example.com"}})); err != nil {
		t.Fatal(err)
	}
	if seen, err = see(bob, ""); err != nil || seen.Availability != "offline" || seen.Note != "" || len(seen.Devices) != 0 {
		t.Errorf("bob, blocked: %v, %v", seen, err)
	}
	for _, c := range []client{alice, r.client} {
		resp, err := c.Presence.ExplainPresence(r.ctx, connect.NewRequest(&v1.ExplainPresenceRequest{Owner: "alice@example.com", Watcher: "bob@example.com"}))
		if err != nil {
			t.Fatal(err)
		}
		m := resp.Msg
		if m.Level != "blocked" || !strings.Contains(m.LevelReason, "rule for bob@example.com") || m.Sight.State != "nothing" || m.Seen.Availability != "offline" ||
			m.State.Availability != "busy" || m.State.Note != "a note" || len(m.Sources) < 2 {
			t.Errorf("explained: %v", m)
		}
		if doc, err := pidf.Parse(m.Document); err != nil || doc.Entity != "sip:alice@example.com" || doc.Tuples[0].Basic != pidf.Closed {
			t.Errorf("document: %s, %v", m.Document, err)
		}
	}
}

// Who watches somebody now.
func TestListWatchers(t *testing.T) {
	r := start(t)
	r.add("alice@example.com", "bob@example.com")
	list := func() []*v1.Watcher {
		t.Helper()
		resp, err := r.Presence.ListWatchers(r.ctx, connect.NewRequest(&v1.ListWatchersRequest{Owner: "alice@example.com"}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg.Watchers
	}
	if got := list(); len(got) != 0 {
		t.Errorf("at first: %v", got)
	}
	told := make(chan presence.Seen, 8)
	f, err := r.people.agent.Follow(r.ctx, "bob@example.com", []string{"alice@example.com"}, func(s presence.Seen) { told <- s })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("bob was not told")
	}
	if got := list(); len(got) != 1 || got[0].Address != "bob@example.com" || got[0].Level != "colleague" || got[0].Since == nil || got[0].Expires != nil {
		t.Errorf("%v", got)
	}
}

// Without a server nobody knows.
func TestPresenceWithoutServer(t *testing.T) {
	r := start(t, func(o *api.Options) { o.Presence = nil })
	r.add("alice@example.com")
	p, calls := r.Presence, map[string]error{}
	_, calls["get"] = p.GetPresence(r.ctx, connect.NewRequest(&v1.GetPresenceRequest{Owner: "alice@example.com"}))
	_, calls["set"] = p.SetPresence(r.ctx, connect.NewRequest(&v1.SetPresenceRequest{Owner: "alice@example.com"}))
	_, calls["see"] = p.SeePresence(r.ctx, connect.NewRequest(&v1.SeePresenceRequest{Owner: "alice@example.com"}))
	_, calls["explain"] = p.ExplainPresence(r.ctx, connect.NewRequest(&v1.ExplainPresenceRequest{Owner: "alice@example.com"}))
	_, calls["watchers"] = p.ListWatchers(r.ctx, connect.NewRequest(&v1.ListWatchersRequest{Owner: "alice@example.com"}))
	for what, err := range calls {
		r.refused(what, err, connect.CodeUnavailable, "no server is running")
	}
}
