package pidf

import (
	"strconv"
	"time"

	"github.com/parley-im/parley/wire/xmlpull"
)

// The namespaces of a document besides PIDF's own, with their prefixes. Some clients look for the text "<rpid:busy" instead
// of reading XML: the prefix is the one of the examples in RFC 4480.
const (
	useDM = 1 << iota
	useRPID
	useCaps
	useCIPID
	useLT
	useExtra
)

var prefixes = [...]struct {
	use  uint8
	decl string
}{
	{useDM, ` xmlns:dm="` + DataModel + `"`},
	{useRPID, ` xmlns:rpid="` + RPID + `"`},
	{useCaps, ` xmlns:c="` + Caps + `"`},
	{useCIPID, ` xmlns:ci="` + CIPID + `"`},
	{useLT, ` xmlns:lt="` + LocationType + `"`},
	{useExtra, ` xmlns:p="` + ExtraNamespace + `"`},
}

// writer appends elements and notes which namespaces they need.
type writer struct {
	b    []byte
	used uint8
}

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

// Append appends the document, Content-Type application/pidf+xml. It allocates nothing when b has room (2 kB hold a
// usual document).
func (p *Presence) Append(b []byte) []byte {
	b = append(b, xmlpull.Header...)
	w := writer{b: b}
	start := len(b)
	p.body(&w)
	w.raw("</presence>")
	return w.insertRoot(start, "<presence xmlns=\""+Namespace+"\"", p.Entity, 0)
}

// AppendFull appends the document as the first of a series of partial ones (RFC 5262 §3), Content-Type
// application/pidf-diff+xml. RFC 5263 §4.4 counts versions from 1.
func (p *Presence) AppendFull(b []byte, version uint32) []byte {
	b = append(b, xmlpull.Header...)
	w := writer{b: b}
	start := len(b)
	p.body(&w)
	w.raw("</d:pidf-full>")
	return w.insertRoot(start, "<d:pidf-full xmlns=\""+Namespace+"\" xmlns:d=\""+DiffNamespace+"\"", p.Entity, version)
}

// insertRoot puts the start tag of the root before what was written from start on: only now is it known which
// namespaces it must declare.
func (w *writer) insertRoot(start int, tag, entity string, version uint32) []byte {
	end := len(w.b)
	w.raw(tag)
	for _, p := range prefixes {
		if w.used&p.use != 0 {
			w.raw(p.decl)
		}
	}
	w.b = xmlpull.AppendAttr(w.b, "entity", entity)
	if version > 0 {
		w.b = xmlpull.AppendUintAttr(w.b, "version", uint64(version))
	}
	w.raw(">")
	rotate(w.b[start:], end-start)
	return w.b
}

// rotate moves what follows b[n:] to the front.
func rotate(b []byte, n int) {
	var room [1024]byte
	tail := append(room[:0], b[n:]...)
	copy(b[len(tail):], b[:n])
	copy(b, tail)
}

func (p *Presence) body(w *writer) {
	for i := range p.Tuples {
		p.Tuples[i].write(w)
	}
	w.notes("note", p.Notes)
	for i := range p.Persons {
		p.Persons[i].write(w)
	}
	for i := range p.Devices {
		p.Devices[i].write(w)
	}
}

// write keeps to the order of RFC 3863 §4.4: status, extensions, contact, notes, timestamp.
func (t *Tuple) write(w *writer) {
	w.start("tuple", t.ID)
	switch t.Basic {
	case Open, Closed:
		w.raw("<status><basic>")
		w.raw(t.Basic)
		w.raw("</basic></status>")
	default:
		// RFC 3863 §4.1.3: a status has at least one child.
		w.used |= useExtra
		w.raw("<status><p:unknown/></status>")
	}
	for _, id := range t.DeviceIDs {
		w.used |= useDM
		w.b = xmlpull.AppendElement(w.b, "dm:deviceID", id)
	}
	w.class(t.Class)
	w.set(&privacyKind, t.Privacy)
	w.set(&relationshipKind, t.Relationship)
	w.set(&serviceClassKind, t.ServiceClass)
	w.icon(t.StatusIcon)
	w.userInput(&t.UserInput)
	w.serviceCaps(t.Caps)
	w.card(t.Card)
	w.extra(&t.Extra)
	if t.Contact != "" {
		w.raw("<contact")
		if t.Priority > 0 {
			w.raw(` priority="`)
			w.b = appendPriority(w.b, t.Priority)
			w.raw(`"`)
		}
		w.raw(">")
		w.b = xmlpull.AppendText(w.b, t.Contact)
		w.raw("</contact>")
	}
	w.notes("note", t.Notes)
	w.time("timestamp", t.Timestamp)
	w.raw("</tuple>")
}

// write keeps to the order of RFC 4479 §5.1.2: extensions, notes, timestamp.
func (p *Person) write(w *writer) {
	w.used |= useDM
	w.start("dm:person", p.ID)
	for i := range p.Activities {
		w.set(&activityKind, &p.Activities[i])
	}
	w.class(p.Class)
	for i := range p.Moods {
		w.set(&moodKind, &p.Moods[i])
	}
	w.placeIs(p.PlaceIs)
	w.set(&placeKind, p.PlaceType)
	w.set(&privacyKind, p.Privacy)
	w.set(&sphereKind, p.Sphere)
	w.icon(p.StatusIcon)
	w.timeOffset(p.TimeOffset)
	w.userInput(&p.UserInput)
	w.card(p.Card)
	w.extra(&p.Extra)
	w.notes("dm:note", p.Notes)
	w.time("dm:timestamp", p.Timestamp)
	w.raw("</dm:person>")
}

// write keeps to the order of RFC 4479 §5.1.2: extensions, deviceID, notes, timestamp.
func (d *Device) write(w *writer) {
	w.used |= useDM
	w.start("dm:device", d.ID)
	w.class(d.Class)
	w.userInput(&d.UserInput)
	w.deviceCaps(d.Caps)
	w.extra(&d.Extra)
	w.b = xmlpull.AppendElement(w.b, "dm:deviceID", d.DeviceID)
	w.notes("dm:note", d.Notes)
	w.time("dm:timestamp", d.Timestamp)
	w.raw("</dm:device>")
}

func (w *writer) start(name, id string) {
	w.raw("<")
	w.raw(name)
	w.raw(` id="`)
	w.b = appendID(w.b, id)
	w.raw(`">`)
}

func (w *writer) notes(name string, notes []Note) {
	for i := range notes {
		w.raw("<")
		w.raw(name)
		if isLang(notes[i].Lang) {
			w.b = xmlpull.AppendAttr(w.b, "xml:lang", notes[i].Lang)
		}
		w.raw(">")
		w.b = xmlpull.AppendText(w.b, notes[i].Text)
		w.b = xmlpull.AppendEnd(w.b, name)
	}
}

// isLang says whether s has the form of xs:language.
func isLang(s string) bool {
	run := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '-' && run > 0:
			run = 0
			continue
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && run < i: // not in the first part
		default:
			return false
		}
		if run++; run > 8 {
			return false
		}
	}
	return run > 0
}

func (w *writer) time(name string, t time.Time) {
	if writable(t) {
		w.raw("<")
		w.raw(name)
		w.raw(">")
		w.b = t.UTC().AppendFormat(w.b, time.RFC3339Nano)
		w.b = xmlpull.AppendEnd(w.b, name)
	}
}

func (w *writer) timeAttr(name string, t time.Time) {
	if writable(t) {
		w.raw(name)
		w.raw(`="`)
		w.b = t.UTC().AppendFormat(w.b, time.RFC3339Nano)
		w.raw(`"`)
	}
}

// writable says that a time is told and has a year of four digits, as RFC 3339 §5.6 wants.
func writable(t time.Time) bool {
	if t.IsZero() {
		return false
	}
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

func (w *writer) class(s string) {
	if s != "" {
		w.used |= useRPID
		w.b = xmlpull.AppendElement(w.b, "rpid:class", s)
	}
}

// set writes a set as the schema of its kind wants it: "unknown" only alone, one value where there is a choice of one.
func (w *writer) set(k *setKind, s *Set) {
	if s == nil {
		return
	}
	// What there is to say: values, else other texts, else "unknown" if that is told or if something must be there.
	values := 0
	for _, v := range s.Values {
		if k.writes(v) {
			values++
		}
	}
	others := s.Other
	switch {
	case k.other == noOther, k.other == insteadOfValues && values > 0:
		others = nil
	case k.other != besideValues && len(others) > 1:
		others = others[:1]
	}
	nothing := values == 0 && len(others) == 0
	unknown := nothing && (s.Has("unknown") || k.must && len(s.Notes) > 0)
	if k.must && nothing && !unknown {
		return
	}
	w.used |= useRPID
	w.raw("<")
	w.raw(k.name)
	w.timeAttr(" from", s.From)
	w.timeAttr(" until", s.Until)
	w.raw(">")
	if k.other != asText {
		w.notes("rpid:note", s.Notes)
	}
	switch {
	case unknown:
		w.value(k, "unknown")
	case k.ordered:
		for _, v := range privacyNames {
			if s.Has(v) {
				w.value(k, v)
			}
		}
		for _, v := range s.Values {
			if k.writes(v) && !k.known(v) {
				w.value(k, v)
			}
		}
	default:
		for _, v := range s.Values {
			if k.writes(v) {
				w.value(k, v)
				if k.one {
					break
				}
			}
		}
	}
	if k.other == asText {
		if nothing = values == 0 && !unknown; nothing && len(s.Other) > 0 {
			// The schema has no place for other spheres; the example of RFC 4480 §4 writes them as text.
			w.b = xmlpull.AppendText(w.b, s.Other[0].Text)
		}
	} else {
		w.notes("rpid:other", others)
	}
	w.b = xmlpull.AppendEnd(w.b, k.name)
}

// value writes one value as an empty element.
func (w *writer) value(k *setKind, v string) {
	switch {
	case k.known(v):
		w.raw("<rpid:")
	case k.places:
		w.used |= useLT
		w.raw("<lt:")
	default:
		w.used |= useExtra
		w.raw("<p:")
	}
	w.raw(v)
	w.raw("/>")
}

func (w *writer) placeIs(p *PlaceIs) {
	if p == nil {
		return
	}
	w.used |= useRPID
	w.raw("<rpid:place-is")
	w.timeAttr(" from", p.From)
	w.timeAttr(" until", p.Until)
	w.raw(">")
	w.notes("rpid:note", p.Notes)
	if isPlaceAudio(p.Audio) {
		w.raw("<rpid:audio><rpid:" + p.Audio + "/></rpid:audio>")
	}
	if isPlaceVideo(p.Video) {
		w.raw("<rpid:video><rpid:" + p.Video + "/></rpid:video>")
	}
	if isPlaceText(p.Text) {
		w.raw("<rpid:text><rpid:" + p.Text + "/></rpid:text>")
	}
	w.raw("</rpid:place-is>")
}

func (w *writer) icon(i *Icon) {
	if i == nil {
		return
	}
	w.used |= useRPID
	w.raw("<rpid:status-icon")
	w.timeAttr(" from", i.From)
	w.timeAttr(" until", i.Until)
	w.raw(">")
	w.b = xmlpull.AppendText(w.b, i.URI)
	w.raw("</rpid:status-icon>")
}

func (w *writer) timeOffset(o *TimeOffset) {
	if o == nil {
		return
	}
	w.used |= useRPID
	w.raw("<rpid:time-offset")
	w.timeAttr(" from", o.From)
	w.timeAttr(" until", o.Until)
	if o.Description != "" {
		w.b = xmlpull.AppendAttr(w.b, "description", o.Description)
	}
	w.raw(">")
	w.b = strconv.AppendInt(w.b, int64(o.Minutes), 10)
	w.raw("</rpid:time-offset>")
}

func (w *writer) userInput(u *UserInput) {
	if u.State != Active && u.State != Idle {
		return
	}
	w.used |= useRPID
	w.raw("<rpid:user-input")
	if u.IdleThreshold > 0 {
		w.b = xmlpull.AppendUintAttr(w.b, "idle-threshold", uint64(u.IdleThreshold))
	}
	w.timeAttr(" last-input", u.LastInput)
	w.raw(">")
	w.raw(u.State)
	w.raw("</rpid:user-input>")
}

func (w *writer) card(c *Card) {
	if c == nil {
		return
	}
	w.used |= useCIPID
	w.cardURI("ci:card", c.Card)
	w.notes("ci:display-name", c.DisplayNames)
	w.cardURI("ci:homepage", c.Homepage)
	w.cardURI("ci:icon", c.Icon)
	w.cardURI("ci:map", c.Map)
	w.cardURI("ci:sound", c.Sound)
}

func (w *writer) cardURI(name, uri string) {
	if uri != "" {
		w.b = xmlpull.AppendElement(w.b, name, uri)
	}
}

func (w *writer) extra(e *Extra) {
	if e.Availability.Valid() {
		w.used |= useExtra
		w.raw("<p:availability")
		w.timeAttr(" until", e.Until)
		w.raw(">")
		w.raw(string(e.Availability))
		w.raw("</p:availability>")
	}
	if e.Device.Valid() {
		w.used |= useExtra
		w.raw("<p:device>")
		w.raw(string(e.Device))
		w.raw("</p:device>")
	}
	if e.Line.RTT > 0 || e.Line.Throughput.Valid() {
		w.used |= useExtra
		w.raw("<p:line")
		if e.Line.RTT > 0 {
			// Rounded up, so that a round trip that was measured never reads as none.
			ms := (min(e.Line.RTT, maxRTT) + time.Millisecond - 1) / time.Millisecond
			w.b = xmlpull.AppendUintAttr(w.b, "rtt", uint64(ms))
		}
		if e.Line.Throughput.Valid() {
			w.b = xmlpull.AppendAttr(w.b, "throughput", string(e.Line.Throughput))
		}
		w.raw("/>")
	}
	if e.MaxMessage > 0 {
		w.used |= useExtra
		w.raw("<p:max-message>")
		w.b = strconv.AppendUint(w.b, uint64(e.MaxMessage), 10)
		w.raw("</p:max-message>")
	}
}

// appendPriority writes thousandths as a decimal with at most three digits after the point (RFC 3863 §4.1.5).
func appendPriority(b []byte, n uint16) []byte {
	if n >= 1000 {
		return append(b, '1')
	}
	b = append(b, '0', '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}
