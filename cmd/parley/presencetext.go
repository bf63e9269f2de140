package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
)

// orJSON prints an answer as JSON, unless there is an error.
func orJSON[T any, P interface {
	*T
	proto.Message
}](resp *connect.Response[T], err error) error {
	if err != nil {
		return err
	}
	return printJSON(P(resp.Msg))
}

// stateWords are states in words.
var stateWords = map[string]string{
	"available": "available", "busy": "busy", "in-call": "in a call", "in-meeting": "in a meeting", "dnd": "on do not disturb",
	"brb": "away for a moment (be right back)", "away": "away", "offline": "offline",
}

func stateName(availability string) string {
	if name, ok := stateWords[availability]; ok {
		return name
	}
	return "not known"
}

// stateLine is a state with its end and why: "busy until 14:00: set by hand".
func stateLine(s *v1.PresenceState, now time.Time) string {
	line := stateName(s.Availability)
	if s.Until != nil {
		line += " until " + shortTime(s.Until, now)
	}
	if s.Reason != "" {
		line += ": " + oneLine(s.Reason)
	}
	return line
}

// shortTime leaves out the date when it is today.
func shortTime(t *timestamppb.Timestamp, now time.Time) string {
	at := t.AsTime().In(now.Location())
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format("15:04")
	}
	return at.Format("2006-01-02 15:04")
}

var utc = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`)

// localTimes writes the times in a sentence of the server as all others are written here.
func localTimes(text string, now time.Time) string {
	return utc.ReplaceAllStringFunc(text, func(s string) string {
		t, err := time.Parse("2006-01-02 15:04:05 UTC", s)
		if err != nil {
			return s
		}
		return shortTime(timestamppb.New(t), now)
	})
}

// idleFor is how long something is idle, in whole minutes.
func idleFor(since *timestamppb.Timestamp, now time.Time) string {
	d := max(0, now.Sub(since.AsTime())).Truncate(time.Minute)
	if d == 0 {
		return "under a minute"
	}
	return strings.TrimSuffix(d.String(), "0s")
}

// printNote prints the lines under a state.
func printNote(note string, idle *timestamppb.Timestamp, now time.Time) {
	if note != "" {
		fmt.Printf("note: %s\n", oneLine(note))
	}
	if idle != nil {
		fmt.Printf("idle for: %s\n", idleFor(idle, now))
	}
}

// printSources prints what a state is made of; an arrow is before what won.
func printSources(list []*v1.PresenceSource, now time.Time) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\n   SOURCE\tOF\tSAYS")
	for _, s := range list {
		arrow := map[bool]string{true: "->", false: "  "}[s.Wins]
		fmt.Fprintf(w, "%s %s\t%s\t%s\n", arrow, s.Source, orDash(s.Name), orDash(localTimes(s.Says, now)))
	}
	return w.Flush()
}

// printDevices prints devices, if there are any.
func printDevices(list []*v1.PresenceDevice, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nDEVICE\tKIND\tCAN\tLINE\tLONGEST MESSAGE\tIN USE")
	for _, d := range list {
		use, most := "-", "-"
		switch {
		case d.Active:
			use = "yes"
		case d.IdleSince != nil:
			use = "not for " + idleFor(d.IdleSince, now)
		}
		if d.MaxMessage > 0 {
			most = fmt.Sprint(d.MaxMessage, " bytes")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", orDash(d.Id), orDash(d.Class), orDash(canDo(d)), orDash(lineOf(d.Line)), most, use)
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

func canDo(d *v1.PresenceDevice) string {
	var can []string
	for _, c := range []struct {
		yes  bool
		name string
	}{{d.Audio, "audio"}, {d.Video, "video"}, {d.Message, "messages"}} {
		if c.yes {
			can = append(can, c.name)
		}
	}
	return strings.Join(can, ", ")
}

// lineOf is "slow, 85 ms".
func lineOf(l *v1.Line) string {
	var parts []string
	if l.GetThroughput() != "" {
		parts = append(parts, l.Throughput)
	}
	if l.GetRoundTrip() != nil {
		parts = append(parts, fmt.Sprint(l.RoundTrip.AsDuration().Milliseconds(), " ms"))
	}
	return strings.Join(parts, ", ")
}

// printSeen prints what a watcher sees.
func printSeen(s *v1.SeenPresence, now time.Time) error {
	state := stateName(s.Availability)
	if s.Until != nil {
		state += " until " + shortTime(s.Until, now)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "state\t%s\n", state)
	if len(s.Activities) > 0 {
		fmt.Fprintf(w, "activities\t%s\n", oneLine(strings.Join(s.Activities, ", ")))
	}
	if s.Note != "" {
		fmt.Fprintf(w, "note\t%s\n", oneLine(s.Note))
	}
	if s.IdleSince != nil {
		fmt.Fprintf(w, "idle for\t%s\n", idleFor(s.IdleSince, now))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printDevices(s.Devices, now)
}

// printSight prints what a level lets somebody see.
func printSight(s *v1.Sight) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	yes := map[bool]string{true: "yes", false: "no"}
	fmt.Fprintf(w, "sees the state\t%s\n", map[string]string{"nothing": "no, always offline", "basic": "whether reachable", "full": "yes"}[s.GetState()])
	fmt.Fprintf(w, "sees the note\t%s\nsees the device\t%s\n", yes[s.GetNote()], yes[s.GetDevice()])
	fmt.Fprintf(w, "sees the calendar\t%s\n", map[string]string{"nothing": "no", "basic": "free or busy", "full": "yes"}[s.GetCalendar()])
	fmt.Fprintf(w, "may interrupt\t%s\n", yes[s.GetInterrupt()])
	return w.Flush()
}
