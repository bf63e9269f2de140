package compose

import (
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// Glance is what a document says, for those who do not read XML.
type Glance struct {
	Availability pidf.Availability
	Until        time.Time // when Availability is expected to end; zero when not told
	Activities   []string  // by their names in RFC 4480 §3.2, without those that only repeat Availability
	Note         string
	IdleSince    time.Time // zero when some device is in use, or when not told
	Devices      []GlanceDevice
}

// GlanceDevice is what a document says of one device.
type GlanceDevice struct {
	ID                    string // of its tuple: the same from one document to the next
	Open                  bool
	Class                 pidf.DeviceClass
	Line                  pidf.Line
	MaxMessage            uint32 // bytes; 0 when not known
	Audio, Video, Message pidf.Flag
	Methods               []string // of SIP; nil when not told
	Contact               string   // URI, "" when not told
	Note                  string
	Active                bool      // somebody is using it
	IdleSince             time.Time // zero when it is in use, or when not told
}

// Look reads a document that View made, so that who asks by an API is told what a watcher is told, and no more. The result
// shares parts with the document.
func Look(doc *pidf.Presence) Glance {
	g := Glance{Availability: pidf.Offline}
	for i := range doc.Persons {
		p := &doc.Persons[i]
		g.Availability, g.Until = p.Extra.Availability, p.Extra.Until
		g.IdleSince, g.Note = idleOf(p.UserInput), textOf(p.Notes)
		shown := activityOf(g.Availability)
		for k := range p.Activities {
			for _, v := range p.Activities[k].Values {
				if v != shown {
					g.Activities = append(g.Activities, v)
				}
			}
			for _, o := range p.Activities[k].Other {
				g.Activities = append(g.Activities, o.Text)
			}
		}
	}
	for i := range doc.Tuples {
		t := &doc.Tuples[i]
		if t.ID == addressID {
			continue
		}
		d := GlanceDevice{ID: t.ID, Open: t.Basic == pidf.Open, Class: t.Extra.Device, Line: t.Extra.Line, MaxMessage: t.Extra.MaxMessage,
			Contact: t.Contact, Note: textOf(t.Notes), Active: t.UserInput.State == pidf.Active, IdleSince: idleOf(t.UserInput)}
		if c := t.Caps; c != nil {
			d.Audio, d.Video, d.Message, d.Methods = c.Audio, c.Video, c.Message, c.Methods.Yes
		}
		g.Devices = append(g.Devices, d)
	}
	return g
}

func idleOf(u pidf.UserInput) time.Time {
	if u.State == pidf.Idle {
		return u.LastInput
	}
	return time.Time{}
}

func textOf(notes []pidf.Note) string {
	if len(notes) == 0 {
		return ""
	}
	return notes[0].Text
}
