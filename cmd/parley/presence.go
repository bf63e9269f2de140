package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

type presenceCmd struct {
	Show     presenceShowCmd     `cmd:"" help:"Tell who is there, on what, and what says so."`
	Set      presenceSetCmd      `cmd:"" help:"Say by hand what somebody's state is, instead of what was said by hand before."`
	Explain  presenceExplainCmd  `cmd:"" help:"Tell what somebody sees of somebody, and why."`
	Watchers presenceWatchersCmd `cmd:"" help:"List who follows the presence of somebody now."`
}

type presenceShowCmd struct {
	Owner string `arg:"" placeholder:"USER@DOMAIN"`
	As    string `placeholder:"ADDRESS" help:"Only what this person sees."`
	JSON  bool   `help:"As JSON."`
}

func (c presenceShowCmd) Run(a *app) error {
	return a.running(func(p *parley.Client) error {
		now := time.Now()
		if c.As != "" {
			resp, err := p.Presence.SeePresence(a.ctx, connect.NewRequest(&v1.SeePresenceRequest{Owner: c.Owner, Watcher: c.As}))
			if err != nil || c.JSON {
				return orJSON(resp, err)
			}
			fmt.Printf("%s sees %s as:\n", c.As, resp.Msg.Seen.Owner)
			return printSeen(resp.Msg.Seen, now)
		}
		resp, err := p.Presence.GetPresence(a.ctx, connect.NewRequest(&v1.GetPresenceRequest{Owner: c.Owner}))
		if err != nil || c.JSON {
			return orJSON(resp, err)
		}
		m := resp.Msg
		fmt.Printf("%s is %s.\n", c.Owner, stateLine(m.State, now))
		printNote(m.State.Note, m.State.IdleSince, now)
		if err := printSources(m.Sources, now); err != nil {
			return err
		}
		return printDevices(m.Devices, now)
	})
}

type presenceSetCmd struct {
	Owner string `arg:"" placeholder:"USER@DOMAIN"`
	State string `arg:"" help:"available, busy, in-meeting, dnd (do not disturb), brb (be right back), away or offline (appear offline); auto leaves it to the devices, calls and calendar."`
	Note  string `help:"What others read beside it: 'back at 14:00'. Without it there is none."`
	Until string `placeholder:"TIME" help:"When state and note end: 14:00 (the next one), 30m, or 2026-11-22T14:00. Without it they stay until they are changed."`
}

func (c presenceSetCmd) Run(a *app) error {
	now := time.Now()
	state, err := parseState(c.State)
	if err != nil {
		return err
	}
	until, err := parseUntil(c.Until, now)
	if err != nil {
		return err
	}
	if state == "" && c.Note == "" && until != nil {
		return errs.New(errs.Invalid, "auto without a note has no end; leave --until out, or give a state or a --note that ends then")
	}
	return a.running(func(p *parley.Client) error {
		resp, err := p.Presence.SetPresence(a.ctx, connect.NewRequest(&v1.SetPresenceRequest{Owner: c.Owner,
			Manual: &v1.ManualPresence{Availability: state, Note: c.Note, Until: until}}))
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s is now %s.\n", c.Owner, stateLine(resp.Msg.State, now))
		return nil
	})
}

// states are the names by which people know states, beside those of the API.
var states = map[string]string{
	"available": "available", "busy": "busy", "in-meeting": "in-meeting", "dnd": "dnd", "brb": "brb", "away": "away", "offline": "offline",
	"in-a-meeting": "in-meeting", "meeting": "in-meeting", "do-not-disturb": "dnd", "be-right-back": "brb", "appear-offline": "offline",
	"auto": "",
}

// parseState reads the name of a state that can be set; "" is the one that leaves it to the rest.
func parseState(name string) (string, error) {
	key := strings.NewReplacer(" ", "-", "_", "-").Replace(strings.ToLower(strings.TrimSpace(name)))
	if state, ok := states[key]; ok {
		return state, nil
	}
	switch key {
	case "in-call", "in-a-call", "on-the-phone":
		return "", errs.New(errs.Invalid, "%s cannot be set by hand: the server sees calls by itself; write busy or dnd", name)
	}
	return "", errs.New(errs.Invalid, "%q is no state; write available, busy, in-meeting, dnd, brb, away, offline or auto", name)
}

// parseUntil reads a time of day (the next such), a time from now, or a date with a time; nil for "".
func parseUntil(text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location())
			if !at.After(now) { // of tomorrow; a day need not have 24 hours
				at = time.Date(now.Year(), now.Month(), now.Day()+1, t.Hour(), t.Minute(), t.Second(), 0, now.Location())
			}
			return timestamppb.New(at), nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateTime, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			if !t.After(now) {
				return nil, errs.New(errs.Invalid, "--until %s is over; give a time in the future", text)
			}
			return timestamppb.New(t), nil
		}
	}
	const year = 366 * 24 * time.Hour
	if d, err := time.ParseDuration(text); err == nil {
		if d <= 0 || d > year {
			return nil, errs.New(errs.Invalid, "--until %s is no time ahead of up to a year", text)
		}
		return timestamppb.New(now.Add(d)), nil
	}
	return nil, errs.New(errs.Invalid, "--until %q is no time; write 14:00, 30m, 2h30m or 2026-11-22T14:00", text)
}

type presenceExplainCmd struct {
	Owner   string `arg:"" placeholder:"USER@DOMAIN"`
	Watcher string `arg:"" placeholder:"ADDRESS" help:"Who looks."`
	XML     bool   `name:"xml" xor:"form" help:"Print the document (PIDF) that the watcher gets instead."`
	JSON    bool   `xor:"form" help:"As JSON."`
}

func (c presenceExplainCmd) Run(a *app) error {
	return a.running(func(p *parley.Client) error {
		now := time.Now()
		resp, err := p.Presence.ExplainPresence(a.ctx, connect.NewRequest(&v1.ExplainPresenceRequest{Owner: c.Owner, Watcher: c.Watcher}))
		if err != nil || c.JSON {
			return orJSON(resp, err)
		}
		m := resp.Msg
		if c.XML {
			_, err := os.Stdout.Write(append(m.Document, '\n'))
			return err
		}
		fmt.Printf("%s is %s to %s: %s.\n", c.Watcher, m.Level, c.Owner, oneLine(m.LevelReason))
		if err := printSight(m.Sight); err != nil {
			return err
		}
		fmt.Printf("\n%s is %s.\n", c.Owner, stateLine(m.State, now))
		printNote(m.State.Note, m.State.IdleSince, now)
		if err := printSources(m.Sources, now); err != nil {
			return err
		}
		fmt.Printf("\n%s sees:\n", c.Watcher)
		return printSeen(m.Seen, now)
	})
}

type presenceWatchersCmd struct {
	Owner string `arg:"" placeholder:"USER@DOMAIN"`
	JSON  bool   `help:"One watcher a line as JSON."`
}

func (c presenceWatchersCmd) Run(a *app) error {
	return a.running(func(p *parley.Client) error {
		resp, err := p.Presence.ListWatchers(a.ctx, connect.NewRequest(&v1.ListWatchersRequest{Owner: c.Owner}))
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "WATCHER\tLEVEL\tBY\tSINCE\tEXPIRES")
		}
		for _, x := range resp.Msg.Watchers {
			if c.JSON {
				if err := printJSON(x); err != nil {
					return err
				}
				continue
			}
			by, expires := map[bool]string{true: "a list", false: "itself"}[x.InList], "-"
			if x.Expires != nil {
				expires = when(x.Expires)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", oneLine(x.Address), x.Level, by, when(x.Since), expires)
		}
		return w.Flush()
	})
}
