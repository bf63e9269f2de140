package compose

import (
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// scan is all sources read at one moment.
type scan struct {
	src     *Sources
	now     time.Time
	next    time.Time
	devices []seen    // by ID, each once
	alone   []reading // of publishers that are no device

	// The newest publication that says so, over all of them; nil for none.
	dnd, call, meeting, busy *reading
	gentle                   *reading // the newest of those that say available, away or be right back
	event                    *Meeting // the one that goes on; of several the one that began last
	note                     pidf.Note
	there                    bool      // some device is not closed
	idleSince                time.Time // since when no device is in use; zero when one is, or when none tells

	room      [3]seen // for most people
	aloneRoom [1]reading
}

// seen is a device with what it published last.
type seen struct {
	*Device
	reading // its pub is nil when the device published nothing
	idle    time.Time
}

// fill reads the sources.
func (s *scan) fill(src *Sources) {
	s.src, s.now = src, src.Now
	s.fillDevices()
	s.fillPublications()
	for i := range s.devices {
		d := &s.devices[i]
		if d.pub != nil {
			d.reading = read(d.pub, s.now, &s.next)
			d.idle = d.idleSince(s.now)
		}
		if d.input.State == "" && !d.Idle.IsZero() {
			d.input, d.idle = pidf.UserInput{State: pidf.Idle, LastInput: d.Idle}, d.Idle
		}
		s.there = s.there || !d.closed
	}
	for i := range s.alone {
		s.alone[i] = read(s.alone[i].pub, s.now, &s.next)
	}
	s.judge()
	s.use()
	for i := range src.Meetings {
		m := &src.Meetings[i]
		soonest(&s.next, m.From, s.now)
		soonest(&s.next, m.Until, s.now)
		if m.Until.IsZero() || !holds(m.From, m.Until, s.now) {
			continue
		}
		if s.event == nil || later(m, s.event) {
			s.event = m
		}
	}
	s.words()
}

// fillDevices puts the devices in the order of their IDs, so that a document does not change when the order of
// registrations does. Of two with one ID the one that registered last counts.
func (s *scan) fillDevices() {
	s.devices = s.room[:0]
	for i := range s.src.Devices {
		d := &s.src.Devices[i]
		at := len(s.devices)
		for at > 0 && s.devices[at-1].ID > d.ID {
			at--
		}
		if at > 0 && s.devices[at-1].ID == d.ID {
			if d.Since.After(s.devices[at-1].Since) {
				s.devices[at-1].Device = d
			}
			continue
		}
		s.devices = append(s.devices, seen{})
		copy(s.devices[at+1:], s.devices[at:])
		s.devices[at] = seen{Device: d}
	}
}

// fillPublications finds the publication of each device that counts: the newest. That of a device which is gone counts no
// more, though it has not expired: its lines are not there for anybody. A publisher that has never been a device is
// heard until what it said expires.
func (s *scan) fillPublications() {
	s.alone = s.aloneRoom[:0]
	for i := range s.src.Publications {
		p := &s.src.Publications[i]
		if p.Doc == nil || !holds(time.Time{}, p.Expires, s.now) || !about(p.Doc.Entity, s.src.AOR) {
			continue
		}
		if d := s.find(p.Device); d != nil {
			if d.pub == nil || newer(p, d.pub) {
				d.pub = p
			}
			continue
		}
		if !p.Alone {
			continue
		}
		s.addAlone(p)
	}
}

// addAlone keeps the order of the names.
func (s *scan) addAlone(p *Publication) {
	at := len(s.alone)
	for at > 0 && s.alone[at-1].pub.Device > p.Device {
		at--
	}
	if at > 0 && s.alone[at-1].pub.Device == p.Device {
		if newer(p, s.alone[at-1].pub) {
			s.alone[at-1].pub = p
		}
		return
	}
	s.alone = append(s.alone, reading{})
	copy(s.alone[at+1:], s.alone[at:])
	s.alone[at] = reading{pub: p}
}

func (s *scan) find(id string) *seen {
	for i := range s.devices {
		if s.devices[i].ID == id {
			return &s.devices[i]
		}
	}
	return nil
}

// judge finds for each kind of statement the newest publication that makes it.
func (s *scan) judge() {
	s.each(func(r *reading) {
		var into **reading
		switch r.availability {
		case pidf.DND:
			into = &s.dnd
		case pidf.InCall:
			into = &s.call
		case pidf.InMeeting:
			into = &s.meeting
		case pidf.Busy:
			into = &s.busy
		case pidf.BRB, pidf.Away, pidf.Available:
			into = &s.gentle
		default:
			return
		}
		if *into == nil || newer(r.pub, (*into).pub) {
			*into = r
		}
	})
}

// each calls f for all that was published.
func (s *scan) each(f func(*reading)) {
	for i := range s.devices {
		if s.devices[i].pub != nil {
			f(&s.devices[i].reading)
		}
	}
	for i := range s.alone {
		f(&s.alone[i])
	}
}

// use finds out since when no device is in use. A device that does not tell may be in use, but for a desk phone: nobody
// would ever be away who has one.
func (s *scan) use() {
	var last time.Time
	for i := range s.devices {
		d := &s.devices[i]
		switch {
		case d.closed:
		case !d.idle.IsZero():
			if d.idle.After(last) {
				last = d.idle
			}
		case d.input.State == "" && d.class() == pidf.DeskPhone:
		default:
			return
		}
	}
	s.idleSince = last
}

// words finds the note: what the person wrote by hand, else the newest that was published. What a device published goes
// with the device when the person appears to be offline: nobody can tell the difference.
func (s *scan) words() {
	m := &s.src.Manual
	holds := m.Holds(s.now)
	if holds {
		soonest(&s.next, m.Until, s.now)
		if m.Note != "" {
			s.note = pidf.Note{Text: m.Note}
			return
		}
	}
	offline := !s.there || holds && m.State == pidf.Offline
	var from *Publication
	take := func(r *reading) {
		if n := r.note(s.now); n.Text != "" && (from == nil || newer(r.pub, from)) {
			s.note, from = n, r.pub
		}
	}
	if !offline {
		s.each(take)
		return
	}
	for i := range s.alone {
		take(&s.alone[i])
	}
}

// class is what the device says it is, else what it looks like.
func (d *seen) class() pidf.DeviceClass {
	if d.tuple != nil && d.tuple.Extra.Device != "" {
		return d.tuple.Extra.Device
	}
	if d.device != nil && d.device.Extra.Device != "" {
		return d.device.Extra.Device
	}
	return d.Device.Class
}

// line is what the device says of its connection, else what was measured.
func (d *seen) line() pidf.Line {
	line := d.Line
	take := func(e *pidf.Extra) {
		if e.Line.RTT > 0 {
			line.RTT = e.Line.RTT
		}
		if e.Line.Throughput != "" {
			line.Throughput = e.Line.Throughput
		}
	}
	if d.device != nil {
		take(&d.device.Extra)
	}
	if d.tuple != nil {
		take(&d.tuple.Extra)
	}
	return line
}

// maxMessage is what the device says it can take, else what is known of its kind.
func (d *seen) maxMessage() uint32 {
	if d.tuple != nil && d.tuple.Extra.MaxMessage > 0 {
		return d.tuple.Extra.MaxMessage
	}
	if d.device != nil && d.device.Extra.MaxMessage > 0 {
		return d.device.Extra.MaxMessage
	}
	return d.MaxMessage
}

// later orders meetings that go on at once: the one that began last, then the longest, then by name.
func later(a, b *Meeting) bool {
	if c := a.From.Compare(b.From); c != 0 {
		return c > 0
	}
	if c := a.Until.Compare(b.Until); c != 0 {
		return c > 0
	}
	return a.Subject > b.Subject
}
