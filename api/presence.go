package api

import (
	"context"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/wire/pidf"
)

// Presence is the presence agent; *presence.Service is one.
type Presence interface {
	Own(ctx context.Context, by presence.Actor, owner string) (presence.Own, error)
	Set(ctx context.Context, by presence.Actor, owner string, m compose.Manual) error
	See(ctx context.Context, by presence.Actor, watcher, owner string) (presence.Seen, error)
	Explain(ctx context.Context, by presence.Actor, owner, watcher string) (presence.Explanation, error)
	Watchers(ctx context.Context, by presence.Actor, owner string) ([]presence.WatcherRow, error)
}

// presences serves what a running server knows of people.
type presences struct{ Presence }

func watcher(ctx context.Context) presence.Actor {
	id := whois(ctx)
	return presence.Actor{Name: id.name, Via: via, Admin: id.Admin}
}

func (p *presences) GetPresence(ctx context.Context, req *connect.Request[v1.GetPresenceRequest]) (*connect.Response[v1.GetPresenceResponse], error) {
	if p.Presence == nil {
		return nil, ErrNotRunning
	}
	own, err := p.Own(ctx, watcher(ctx), req.Msg.Owner)
	if err != nil {
		return nil, err
	}
	resp := &v1.GetPresenceResponse{State: presenceState(&own.State), Manual: manualOf(&own.Manual), Sources: sourcesOf(own.Sources),
		Ringing: int32(own.Calls.Ringing), Talking: int32(own.Calls.Talking)}
	for i := range own.Devices {
		d := &own.Devices[i]
		out := &v1.PresenceDevice{Id: d.ID, Class: string(d.Class), Line: lineOf(d.Line), MaxMessage: d.MaxMessage, Contact: d.Contact, SignedIn: stamp(d.Since)}
		if c := d.Service; c != nil {
			out.Audio, out.Video, out.Message = c.Audio == pidf.Yes, c.Video == pidf.Yes, messages(c.Message, c.Methods.Yes)
		}
		resp.Devices = append(resp.Devices, out)
	}
	for i := range own.Publications {
		x := &own.Publications[i]
		out := &v1.PresencePublication{Etag: x.ETag, Device: x.Device, Updated: stamp(x.Updated), Expires: stamp(x.Expires)}
		if x.Doc != nil {
			out.Document = x.Doc.Append(nil)
		}
		resp.Publications = append(resp.Publications, out)
	}
	return connect.NewResponse(resp), nil
}

func (p *presences) SetPresence(ctx context.Context, req *connect.Request[v1.SetPresenceRequest]) (*connect.Response[v1.SetPresenceResponse], error) {
	if p.Presence == nil {
		return nil, ErrNotRunning
	}
	m := compose.Manual{State: pidf.Availability(req.Msg.Manual.GetAvailability()), Note: req.Msg.Manual.GetNote()}
	if until := req.Msg.Manual.GetUntil(); until != nil {
		m.Until = until.AsTime()
	}
	if err := p.Set(ctx, watcher(ctx), req.Msg.Owner, m); err != nil {
		return nil, err
	}
	own, err := p.Own(ctx, watcher(ctx), req.Msg.Owner)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SetPresenceResponse{State: presenceState(&own.State)}), nil
}

func (p *presences) SeePresence(ctx context.Context, req *connect.Request[v1.SeePresenceRequest]) (*connect.Response[v1.SeePresenceResponse], error) {
	if p.Presence == nil {
		return nil, ErrNotRunning
	}
	by := watcher(ctx)
	who := req.Msg.Watcher
	if who == "" {
		who = by.Name
	}
	seen, err := p.See(ctx, by, who, req.Msg.Owner)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SeePresenceResponse{Seen: seenOf(&seen)}), nil
}

func (p *presences) ExplainPresence(ctx context.Context, req *connect.Request[v1.ExplainPresenceRequest]) (*connect.Response[v1.ExplainPresenceResponse], error) {
	if p.Presence == nil {
		return nil, ErrNotRunning
	}
	e, err := p.Explain(ctx, watcher(ctx), req.Msg.Owner, req.Msg.Watcher)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.ExplainPresenceResponse{Seen: seenOf(&e.Seen), Level: e.Level.String(), LevelReason: e.Why.String(), Sight: sightOf(e.Sight),
		State: presenceState(&e.State), Sources: sourcesOf(e.Sources), Document: e.Doc.Append(nil)}), nil
}

func (p *presences) ListWatchers(ctx context.Context, req *connect.Request[v1.ListWatchersRequest]) (*connect.Response[v1.ListWatchersResponse], error) {
	if p.Presence == nil {
		return nil, ErrNotRunning
	}
	rows, err := p.Watchers(ctx, watcher(ctx), req.Msg.Owner)
	if err != nil {
		return nil, err
	}
	resp := &v1.ListWatchersResponse{}
	for i := range rows {
		w := &rows[i]
		resp.Watchers = append(resp.Watchers, &v1.Watcher{Address: w.Watcher, Level: w.Level.String(), InList: w.List, Since: stamp(w.Since), Expires: stamp(w.Expires)})
	}
	return connect.NewResponse(resp), nil
}

func presenceState(s *compose.State) *v1.PresenceState {
	return &v1.PresenceState{Availability: string(s.Availability), Reason: s.Reason.String(), Note: s.Note, Until: stamp(s.Until), IdleSince: stamp(s.IdleSince)}
}

// manualOf is absent when nothing was said.
func manualOf(m *compose.Manual) *v1.ManualPresence {
	if *m == (compose.Manual{}) {
		return nil
	}
	return &v1.ManualPresence{Availability: string(m.State), Note: m.Note, Until: stamp(m.Until), Set: stamp(m.Set)}
}

func lineOf(l pidf.Line) *v1.Line {
	if l == (pidf.Line{}) {
		return nil
	}
	out := &v1.Line{Throughput: string(l.Throughput)}
	if l.RTT > 0 {
		out.RoundTrip = durationpb.New(l.RTT)
	}
	return out
}

// messages tells whether a device takes messages: it takes sessions of them, or the method MESSAGE.
func messages(session pidf.Flag, methods []string) bool {
	return session == pidf.Yes || slices.Contains(methods, "MESSAGE")
}

func sourcesOf(lines []compose.Line) []*v1.PresenceSource {
	out := make([]*v1.PresenceSource, len(lines))
	for i, l := range lines {
		out[i] = &v1.PresenceSource{Source: l.Source, Name: l.Name, Says: l.Says, Wins: l.Wins}
	}
	return out
}

func seenOf(s *presence.Seen) *v1.SeenPresence {
	out := &v1.SeenPresence{Owner: s.AOR, Availability: string(s.Availability), Activities: s.Activities, Note: s.Note, Until: stamp(s.Until), IdleSince: stamp(s.IdleSince)}
	for i := range s.Devices {
		d := &s.Devices[i]
		out.Devices = append(out.Devices, &v1.PresenceDevice{Id: d.ID, Class: string(d.Class), Line: lineOf(d.Line), MaxMessage: d.MaxMessage,
			Audio: d.Audio == pidf.Yes, Video: d.Video == pidf.Yes, Message: messages(d.Message, d.Methods), Note: d.Note, Contact: d.Contact,
			Active: d.Active, IdleSince: stamp(d.IdleSince)})
	}
	return out
}

func sightOf(s policy.Sight) *v1.Sight {
	return &v1.Sight{State: details[s.State], Note: s.Note, Device: s.Device, Calendar: details[s.Calendar], Interrupt: s.Interrupt}
}
