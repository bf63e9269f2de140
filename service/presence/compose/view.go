package compose

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/wire/pidf"
)

// The identifiers of what every document has. Those of devices are made of their names, see names.
const (
	addressID = "address" // the tuple of the address itself
	personID  = "person"
)

// Limits of a document, so that every one can be read again (pidf.MaxBytes) whatever was published.
const (
	maxDevices   = 16   // the first by ID
	maxPublished = 6000 // bytes of what devices publish and say of themselves
)

// View is what somebody with a sight sees of a person: a document that is valid as it is (pidf.Presence.Normalize has
// nothing to do) and the same for the same arguments. st is what Compose made of src. The document shares parts with src,
// so neither may be changed.
//
// Its parts:
//   - a tuple for the address (RFC 3863 §4.1.2), always first: simple clients look at no other. It is open when the person
//     can be reached, which includes do not disturb: messages do arrive (RFC 3863 §4.1.4);
//   - a person (RFC 4479 §3.2) with the availability as an element of our own, the nearest activities of RFC 4480 §3.2, the
//     note, and since when no device is in use;
//   - a tuple for each device with its capabilities (RFC 5196 §3.2), class, line, and whether it is in use
//     (RFC 4480 §3.14), and an element about the device where there is something to say of it (RFC 4479 §3.4).
//
// Who may see nothing gets the document of a person who is offline and has written no note. When a person is offline, the
// document has no devices and no times, and is the same whether the person appears to be offline or is.
//
// Timestamps, which RFC 3863 §4.1.7 wants, are left out: a SIP dialog has an order of its own (RFC 6665 §4.1.3), and the time
// at which somebody began to appear offline would give them away.
func View(src *Sources, st *State, sight policy.Sight) *pidf.Presence {
	sh := &sheet{}
	doc := &sh.doc
	doc.Entity = "sip:" + src.AOR
	a := st.Availability
	switch sight.State {
	case policy.Nothing:
		a = pidf.Offline
	case policy.Basic:
		a = coarse(a)
	}
	doc.Persons = sh.persons[:]
	person := &doc.Persons[0]
	person.ID, person.Extra.Availability = personID, a
	room := maxPublished
	if sight.Note && sight.State != policy.Nothing {
		person.Notes = sh.note(st, a)
	}
	address := pidf.Tuple{ID: addressID, Basic: pidf.Closed, Contact: doc.Entity, Priority: 1000, Notes: person.Notes}
	if a == pidf.Offline {
		doc.Tuples = []pidf.Tuple{address}
		return doc
	}
	address.Basic = pidf.Open
	full := sight.State == policy.Full
	if !full && !sight.Device {
		doc.Tuples = []pidf.Tuple{address}
		person.Activities = sh.plain(a)
		return doc
	}
	var s scan
	s.fill(src)
	person.Activities = sh.plain(a)
	if full {
		s.person(person, st, sight, &room)
	}
	doc.Tuples = append(make([]pidf.Tuple, 0, 1+min(len(s.devices), maxDevices)), address)
	if sight.Device {
		if person.UserInput = s.input(); !st.IdleSince.IsZero() {
			person.UserInput = pidf.UserInput{State: pidf.Idle, LastInput: st.IdleSince}
		}
		s.tuples(doc, sight, &room)
	}
	return doc
}

// sheet is a document with room for what most of them have, so that it is one piece of memory.
type sheet struct {
	doc        pidf.Presence
	persons    [1]pidf.Person
	notes      [1]pidf.Note
	activities [2]pidf.Set // the second one for a meeting
	values     [1]string
}

// plain is the activity that tells an availability, nil for none: a client that sees any activity takes the person for busy.
func (sh *sheet) plain(a pidf.Availability) []pidf.Set {
	name := activityOf(a)
	if name == "" {
		return nil
	}
	sh.values[0] = name
	sh.activities[0] = pidf.Set{Values: sh.values[:]}
	return sh.activities[:1]
}

// note is the note, or for clients that know only RPID the name of a state that RPID does not have.
func (sh *sheet) note(st *State, shown pidf.Availability) []pidf.Note {
	text, lang := st.Note, ""
	if text == "" {
		switch shown {
		case pidf.DND:
			text, lang = "Do not disturb", "en"
		case pidf.BRB:
			text, lang = "Be right back", "en"
		}
	}
	if text == "" {
		return nil
	}
	sh.notes[0] = pidf.Note{Lang: lang, Text: text}
	return sh.notes[:]
}

// person tells what may be known by those who see all of the state.
func (s *scan) person(p *pidf.Person, st *State, sight policy.Sight, room *int) {
	p.Extra.Until = st.Until
	if st.Reason == Calendar && sight.Calendar == policy.Nothing && p.Activities != nil {
		// That there is a meeting is known from the calendar alone.
		p.Extra.Availability, p.Extra.Until = pidf.Busy, time.Time{}
		p.Activities[0].Values[0] = activityOf(pidf.Busy)
	}
	if w := s.winner(st.Reason); w != nil && w.set != nil && p.Activities != nil {
		set := &p.Activities[0]
		if take(room, setSize(w.set)) {
			// The activity that simple clients know stays first.
			for _, v := range w.set.Values {
				if !slices.Contains(set.Values, v) && v != "unknown" {
					set.Values = append(set.Values, v)
				}
			}
			for _, o := range w.set.Other {
				if wordMeans(o.Text) == "" {
					set.Other = append(set.Other, o)
				}
			}
			set.From = w.set.From
		}
	}
	if p.Activities != nil {
		p.Activities[0].Until = p.Extra.Until
	}
	if s.event != nil && sight.Calendar != policy.Nothing {
		s.meetingTo(p, st, sight, room)
	}
	s.each(func(r *reading) {
		for i := range r.pub.Doc.Persons {
			rich(p, &r.pub.Doc.Persons[i], room)
		}
	})
}

// meetingTo tells of the meeting that goes on: that there is one and when it ends, and who may see more also what it is. A
// person who is talking or busy in a meeting is doing both (RFC 4480 §3.2); one who said to be available or away left it.
func (s *scan) meetingTo(p *pidf.Person, st *State, sight policy.Sight, room *int) {
	switch {
	case st.Reason == Calendar:
	case p.Activities == nil, p.Activities[0].Values[0] == "away":
		return
	default:
		// A set of its own: the other one has its own end.
		if !slices.Contains(p.Activities[0].Values, "meeting") {
			p.Activities = append(p.Activities, pidf.Set{Values: []string{"meeting"}})
		}
	}
	set := &p.Activities[len(p.Activities)-1]
	set.From, set.Until = s.event.From, s.event.Until
	if sight.Calendar == policy.Full {
		for _, text := range [...]string{s.event.Subject, s.event.Place} {
			if n := (pidf.Note{Text: clip(text)}); text != "" && take(room, noteSize(n)) {
				set.Notes = append(set.Notes, n)
			}
		}
	}
}

// rich takes the rest of rich presence, where nobody before has said it.
func rich(p, from *pidf.Person, room *int) {
	if len(p.Moods) == 0 && len(from.Moods) > 0 && take(room, setSize(&from.Moods[0])) {
		p.Moods = from.Moods[:1:1]
	}
	if p.PlaceIs == nil && from.PlaceIs != nil && take(room, 40+notesSize(from.PlaceIs.Notes)) {
		p.PlaceIs = from.PlaceIs
	}
	if p.PlaceType == nil && from.PlaceType != nil && take(room, setSize(from.PlaceType)) {
		p.PlaceType = from.PlaceType
	}
	if p.TimeOffset == nil && from.TimeOffset != nil && take(room, 40+len(from.TimeOffset.Description)) {
		p.TimeOffset = from.TimeOffset
	}
	if p.StatusIcon == nil && from.StatusIcon != nil && take(room, 40+len(from.StatusIcon.URI)) {
		p.StatusIcon = from.StatusIcon
	}
	if p.Card == nil && from.Card != nil && take(room, cardSize(from.Card)) {
		p.Card = from.Card
	}
}

// input is the person's use of all devices: active when one says so (RFC 4480 §3.14).
func (s *scan) input() pidf.UserInput {
	for i := range s.devices {
		if d := &s.devices[i]; !d.closed && d.reading.input.State == pidf.Active {
			return pidf.UserInput{State: pidf.Active}
		}
	}
	return pidf.UserInput{}
}

// tuples adds what is known of each device.
func (s *scan) tuples(doc *pidf.Presence, sight policy.Sight, room *int) {
	count := min(len(s.devices), maxDevices)
	all := s.names(count)
	ids := make([]string, count)
	for i := range count {
		d := &s.devices[i]
		name := all[i*nameSize : (i+1)*nameSize]
		tupleID, deviceID := name[:tupleIDSize], name[tupleIDSize:]
		ids[i] = deviceID
		t := pidf.Tuple{ID: tupleID, Basic: pidf.Open, DeviceIDs: ids[i : i+1 : i+1], Contact: d.Contact, Priority: min(d.Q, 1000)}
		if d.closed {
			t.Basic = pidf.Closed
		}
		t.Extra = pidf.Extra{Device: d.class(), Line: d.line(), MaxMessage: d.maxMessage()}
		if take(room, len(t.Contact)) {
			s.published(&t, d, sight, room)
		} else {
			t.Contact = ""
		}
		doc.Tuples = append(doc.Tuples, t)
		s.element(doc, d, tupleID, deviceID, sight, room)
	}
}

// published puts what a device says of itself into its tuple: its own words go before what the server knows.
func (s *scan) published(t *pidf.Tuple, d *seen, sight policy.Sight, room *int) {
	if d.reading.input.State != "" {
		t.UserInput = d.reading.input
		if !d.idle.IsZero() {
			t.UserInput.LastInput = d.idle
		}
	}
	caps := d.Service
	if d.tuple != nil && d.tuple.Caps != nil {
		caps = d.tuple.Caps
	}
	if caps != nil && take(room, capsSize(caps)) {
		t.Caps = caps
	}
	if d.tuple == nil {
		return
	}
	if sight.Note {
		for _, n := range d.tuple.Notes {
			if n.Text = clip(n.Text); wordMeans(n.Text) == "" && take(room, noteSize(n)) {
				t.Notes = append(t.Notes, n)
			}
		}
	}
	if sight.State != policy.Full {
		return
	}
	if d.tuple.ServiceClass != nil && take(room, setSize(d.tuple.ServiceClass)) {
		t.ServiceClass = d.tuple.ServiceClass
	}
	if d.tuple.Privacy != nil && take(room, setSize(d.tuple.Privacy)) {
		t.Privacy = d.tuple.Privacy
	}
	if d.tuple.StatusIcon != nil && take(room, 40+len(d.tuple.StatusIcon.URI)) {
		t.StatusIcon = d.tuple.StatusIcon
	}
	if d.tuple.Card != nil && take(room, cardSize(d.tuple.Card)) {
		t.Card = d.tuple.Card
	}
}

// element adds the element about a device, if there is something that a tuple has no place for.
func (s *scan) element(doc *pidf.Presence, d *seen, tupleID, deviceID string, sight policy.Sight, room *int) {
	e := pidf.Device{DeviceID: deviceID, Caps: d.Caps}
	if d.device != nil {
		if d.device.Caps != nil {
			e.Caps = d.device.Caps
		}
		if sight.Note {
			for _, n := range d.device.Notes {
				if n.Text = clip(n.Text); take(room, noteSize(n)) {
					e.Notes = append(e.Notes, n)
				}
			}
		}
	}
	if e.Caps != nil && !take(room, supportSize(&e.Caps.Mobility)+notesSize(e.Caps.Descriptions)) {
		e.Caps = nil
	}
	if e.Caps == nil && e.Notes == nil {
		return
	}
	e.ID = "d" + tupleID[1:] // no two parts of a document have the same (RFC 4479 §3.5)
	doc.Devices = append(doc.Devices, e)
}

// The sizes of a device's names: an identifier of the tuple, and the URN that stands for the device (RFC 4479 §3.4).
const (
	tupleIDSize = 1 + 16
	nameSize    = tupleIDSize + len("urn:uuid:") + 36
)

// names makes the names of the first devices, one behind the other. They are always the same for a device, and do not tell
// its instance, nor whether devices of two people are the same one: they are made of a hash of the device and its owner.
func (s *scan) names(count int) string {
	var room [4 * nameSize]byte
	var text [160]byte
	b := room[:0]
	for i := range count {
		in := append(append(append(text[:0], s.src.AOR...), 0), s.devices[i].ID...)
		h := sha256.Sum256(in)
		b = append(b, 't')
		b = hex.AppendEncode(b, h[16:24])
		u := h[:16]
		u[6] = u[6]&0x0F | 0x80 // a UUID of version 8, whose makers decide what is in it
		u[8] = u[8]&0x3F | 0x80
		b = append(b, "urn:uuid:"...)
		for _, part := range [...][]byte{u[:4], u[4:6], u[6:8], u[8:10]} {
			b = append(hex.AppendEncode(b, part), '-')
		}
		b = hex.AppendEncode(b, u[10:])
	}
	return string(b)
}
