package compose

import (
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// Line is what one source says, in words for people.
type Line struct {
	Source string // "by hand", "calls", "device", "publication", "calendar"
	Name   string // of a device or publisher; "" for the other sources
	Says   string // "in a call", "nothing"
	Wins   bool   // it decided
}

// Explain tells what every source says and which one decided, st being what Compose made of src. Times are in UTC. It shows
// all: it is for the person, and for who looks after the server.
func Explain(src *Sources, st *State) []Line {
	var s scan
	s.fill(src)
	lines := []Line{s.explainManual(st.Reason), s.explainCalls(st.Reason)}
	for i := range s.devices {
		d := &s.devices[i]
		l := Line{Source: "device", Name: d.ID, Says: "signed in"}
		if !d.Since.IsZero() {
			l.Says += " since " + when(d.Since)
		}
		if c := d.class(); c != "" {
			l.Says += ", " + string(c)
		}
		switch {
		case d.closed:
			l.Says += ", says that it is closed"
			l.Wins = st.Reason == DevicesClosed
		case !d.idle.IsZero():
			l.Says += ", not in use since " + when(d.idle)
			l.Wins = st.Reason == DevicesIdle
		case d.input.State == pidf.Active:
			l.Says += ", in use"
			l.Wins = st.Reason == DeviceThere
		default:
			l.Says += ", does not tell whether it is in use"
			l.Wins = st.Reason == DeviceThere
		}
		lines = append(lines, l)
	}
	if len(s.devices) == 0 {
		lines = append(lines, Line{Source: "device", Says: "none is signed in", Wins: st.Reason == NoDevice})
	}
	winner := s.winner(st.Reason)
	for i := range src.Publications {
		lines = append(lines, s.explainPublication(&src.Publications[i], winner))
	}
	says := "nothing goes on"
	if s.event != nil {
		says = "a meeting until " + when(s.event.Until)
	}
	if len(src.Meetings) > 0 {
		lines = append(lines, Line{Source: "calendar", Says: says, Wins: st.Reason == Calendar})
	}
	return lines
}

func (s *scan) explainManual(won Reason) Line {
	m := &s.src.Manual
	l := Line{Source: "by hand", Says: string(m.State)}
	if m.State == pidf.Offline {
		l.Says = "appear offline"
	}
	switch {
	case m.State == "" && m.Note == "":
		l.Says = "nothing"
		return l
	case m.State == "":
		l.Says = "a note"
	case m.Note != "":
		l.Says += ", with a note"
	}
	switch {
	case !m.Holds(s.now):
		l.Says += ", which ended " + when(m.Until)
	case !m.Until.IsZero():
		l.Says += ", until " + when(m.Until)
	}
	l.Wins = won == AppearOffline || won == ManualDND || won == ManualState
	return l
}

func (s *scan) explainCalls(won Reason) Line {
	c := s.src.Calls
	l := Line{Source: "calls", Says: "none", Wins: won == Talking}
	var parts []string
	if c.Talking > 0 {
		parts = append(parts, strconv.Itoa(c.Talking)+" in progress")
	}
	if c.Ringing > 0 {
		parts = append(parts, strconv.Itoa(c.Ringing)+" ringing, which do not count yet")
	}
	if len(parts) > 0 {
		l.Says = strings.Join(parts, ", ")
	}
	return l
}

func (s *scan) explainPublication(p *Publication, winner *reading) Line {
	l := Line{Source: "publication", Name: p.Device}
	switch {
	case p.Doc == nil || !about(p.Doc.Entity, s.src.AOR):
		l.Says = "is about somebody else and does not count"
		return l
	case !holds(time.Time{}, p.Expires, s.now):
		l.Says = "expired " + when(p.Expires)
		return l
	}
	var ignored time.Time
	r := read(p, s.now, &ignored)
	switch {
	case r.closed:
		l.Says = "closed"
	case r.availability == "":
		l.Says = "nothing about the person"
	default:
		l.Says = string(r.availability)
	}
	if r.set != nil && len(r.set.Values) > 0 {
		l.Says += " (" + strings.Join(r.set.Values, ", ") + ")"
	}
	if !p.Updated.IsZero() {
		l.Says += ", since " + when(p.Updated)
	}
	counted := false
	s.each(func(q *reading) { counted = counted || q.pub == p })
	switch {
	case counted:
	case s.find(p.Device) != nil || p.Alone:
		l.Says += "; the device published something newer"
	default:
		l.Says += "; its device is not signed in, so it does not count"
	}
	l.Wins = winner != nil && winner.pub == p
	return l
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
