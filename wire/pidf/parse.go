package pidf

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/wire/xmlpull"
)

// Parse reads a full document: PIDF, or the pidf-full of RFC 5262. Identifiers are valid and unique afterwards, see
// Normalize. Errors wrap ErrInvalid or one of xmlsafe's.
func Parse(doc []byte) (*Presence, error) {
	var p parser
	if err := p.r.Open(doc, xmlpull.Limits{Bytes: MaxBytes, Depth: MaxDepth}); err != nil {
		return nil, fmt.Errorf("pidf: parse: %w", err)
	}
	switch {
	case p.r.Local == "presence" && isPIDF(p.r.Space):
	case p.r.Local == "pidf-full" && p.r.Space == DiffNamespace:
	default:
		return nil, fmt.Errorf("%w: the root is %q of %q", ErrInvalid, clip(p.r.Local), clip(p.r.Space))
	}
	p.doc = &Presence{Entity: xmlpull.Trim(p.r.Attr("", "entity"))}
	p.lang = p.r.Attr(xmlpull.XMLNamespace, "lang")
	err := p.presence()
	if closing := p.r.Close(); closing != nil {
		return nil, fmt.Errorf("pidf: parse: %w", closing)
	}
	if err != nil {
		return nil, err
	}
	p.adopt()
	p.doc.Normalize()
	return p.doc, nil
}

// parser reads one document. What is said about the person in places where it does not belong is collected in stray.
type parser struct {
	r     xmlpull.Reader
	doc   *Presence
	lang  string // of the root, for notes that do not tell
	stray Person
	items int
}

func isPIDF(space string) bool { return space == Namespace || space == oldNamespace }

// isRPID also knows the namespaces of RFC 4480's drafts and those that some clients put its elements into.
func isRPID(space string) bool {
	return space == RPID || space == DataModel || space == Namespace ||
		strings.HasPrefix(space, "urn:ietf:params:xml:ns:pidf:") && strings.Contains(space, "rpid")
}

func clip(s string) string { return s[:min(len(s), 60)] }

func (p *parser) presence() error {
	depth := p.r.Depth()
	for p.r.Child(depth) {
		local, space := p.r.Local, p.r.Space
		known := isPIDF(space) || space == DataModel
		switch {
		case known && (local == "tuple" || local == "person" || local == "device"):
			if p.items++; p.items > MaxItems {
				return fmt.Errorf("%w: more than %d tuples, persons and devices", ErrInvalid, MaxItems)
			}
			switch local {
			case "tuple":
				p.tuple()
			case "person":
				p.person()
			default:
				p.device()
			}
		case known && local == "note":
			p.doc.Notes = p.note(p.doc.Notes)
		default:
			p.personal(&p.stray)
		}
	}
	return nil
}

// adopt gives what strayed to the first person, where that person says nothing about it.
func (p *parser) adopt() {
	s := &p.stray
	if len(s.Activities) == 0 && len(s.Moods) == 0 && s.PlaceIs == nil && s.PlaceType == nil && s.Sphere == nil && s.TimeOffset == nil {
		return
	}
	if len(p.doc.Persons) == 0 {
		p.doc.Persons = append(p.doc.Persons, Person{})
	}
	d := &p.doc.Persons[0]
	if len(d.Activities) == 0 {
		d.Activities = s.Activities
	}
	if len(d.Moods) == 0 {
		d.Moods = s.Moods
	}
	if d.PlaceIs == nil {
		d.PlaceIs = s.PlaceIs
	}
	if d.PlaceType == nil {
		d.PlaceType = s.PlaceType
	}
	if d.Sphere == nil {
		d.Sphere = s.Sphere
	}
	if d.TimeOffset == nil {
		d.TimeOffset = s.TimeOffset
	}
}

func (p *parser) tuple() {
	p.doc.Tuples = append(p.doc.Tuples, Tuple{ID: xmlpull.Trim(p.r.Attr("", "id"))})
	t := &p.doc.Tuples[len(p.doc.Tuples)-1]
	depth := p.r.Depth()
	for p.r.Child(depth) {
		p.tupleChild(t, true)
	}
}

func (p *parser) tupleChild(t *Tuple, outside bool) {
	space, local := p.r.Space, p.r.Local
	switch {
	case local == "status" && isPIDF(space) && outside:
		depth := p.r.Depth()
		for p.r.Child(depth) {
			p.tupleChild(t, false)
		}
	case local == "basic" && isPIDF(space):
		switch s := p.r.Text(); {
		case strings.EqualFold(s, Open):
			t.Basic = Open
		case strings.EqualFold(s, Closed):
			t.Basic = Closed
		}
	case local == "contact" && isPIDF(space):
		t.Priority = priority(p.r.Attr("", "priority"))
		t.Contact = p.r.Text()
	case local == "note" && (isPIDF(space) || space == DataModel):
		t.Notes = p.note(t.Notes)
	case local == "timestamp" && (isPIDF(space) || space == DataModel):
		t.Timestamp = parseTime(p.r.Text())
	case local == "deviceID" && isRPID(space):
		if id := p.r.Text(); id != "" {
			t.DeviceIDs = append(t.DeviceIDs, id)
		}
	case local == "servcaps" && space == Caps:
		t.Caps = p.serviceCaps()
	case space == ExtraNamespace:
		p.extra(&t.Extra)
	case space == CIPID:
		p.card(&t.Card)
	case local == "im" && space == imStatusNamespace:
		if s := strings.ToLower(p.r.Text()); isActivity(s) && len(p.stray.Activities) == 0 {
			p.stray.Activities = []Set{{Values: []string{s}}}
		}
	case !isRPID(space):
	case local == "class":
		t.Class = p.r.Text()
	case local == "relationship":
		t.Relationship = p.set()
	case local == "service-class":
		t.ServiceClass = p.set()
	case local == "privacy":
		t.Privacy = p.set()
	case local == "status-icon":
		t.StatusIcon = p.icon()
	case local == "user-input":
		t.UserInput = p.userInput()
	default:
		p.personal(&p.stray)
	}
}

func (p *parser) person() {
	p.doc.Persons = append(p.doc.Persons, Person{ID: xmlpull.Trim(p.r.Attr("", "id"))})
	n := &p.doc.Persons[len(p.doc.Persons)-1]
	depth := p.r.Depth()
	for p.r.Child(depth) {
		space, local := p.r.Space, p.r.Local
		switch {
		case space == ExtraNamespace:
			p.extra(&n.Extra)
		case space == CIPID:
			p.card(&n.Card)
		case !isRPID(space):
		case local == "note":
			n.Notes = p.note(n.Notes)
		case local == "timestamp":
			n.Timestamp = parseTime(p.r.Text())
		case local == "class":
			n.Class = p.r.Text()
		case local == "privacy":
			n.Privacy = p.set()
		case local == "status-icon":
			n.StatusIcon = p.icon()
		case local == "user-input":
			n.UserInput = p.userInput()
		default:
			p.personal(n)
		}
	}
}

// personal reads the elements that are about a person and nothing else.
func (p *parser) personal(n *Person) {
	if !isRPID(p.r.Space) {
		return
	}
	switch p.r.Local {
	case "activities":
		n.Activities = append(n.Activities, *p.set())
	case "mood":
		n.Moods = append(n.Moods, *p.set())
	case "place-is":
		n.PlaceIs = p.placeIs()
	case "place-type":
		n.PlaceType = p.set()
	case "sphere":
		n.Sphere = p.set()
	case "time-offset":
		o := &TimeOffset{Description: p.r.Attr("", "description")}
		o.From, o.Until = p.span()
		if m, err := strconv.ParseInt(p.r.Text(), 10, 16); err == nil {
			o.Minutes = int(m)
			n.TimeOffset = o
		}
	}
}

func (p *parser) device() {
	p.doc.Devices = append(p.doc.Devices, Device{ID: xmlpull.Trim(p.r.Attr("", "id"))})
	d := &p.doc.Devices[len(p.doc.Devices)-1]
	depth := p.r.Depth()
	for p.r.Child(depth) {
		space, local := p.r.Space, p.r.Local
		switch {
		case space == ExtraNamespace:
			p.extra(&d.Extra)
		case space == Caps && local == "devcaps":
			d.Caps = p.deviceCaps()
		case !isRPID(space):
		case local == "deviceID":
			d.DeviceID = p.r.Text()
		case local == "note":
			d.Notes = p.note(d.Notes)
		case local == "timestamp":
			d.Timestamp = parseTime(p.r.Text())
		case local == "class":
			d.Class = p.r.Text()
		case local == "user-input":
			d.UserInput = p.userInput()
		}
	}
}

// note reads the current element as a note. Empty ones say nothing and are left out.
func (p *parser) note(notes []Note) []Note {
	lang := p.r.Attr(xmlpull.XMLNamespace, "lang")
	if lang == "" {
		lang = p.lang
	}
	if text := p.r.Text(); text != "" {
		notes = append(notes, Note{lang, text})
	}
	return notes
}

// span reads the attributes from and until.
func (p *parser) span() (from, until time.Time) {
	for i := range p.r.Attrs {
		switch a := &p.r.Attrs[i]; a.Local {
		case "from":
			from = parseTime(a.Value)
		case "until":
			until = parseTime(a.Value)
		}
	}
	return from, until
}

// set reads the current element as a set.
func (p *parser) set() *Set {
	s := &Set{}
	s.From, s.Until = p.span()
	sphere := p.r.Local == "sphere" // only that has text of its own
	depth := p.r.Depth()
	for {
		switch p.r.Next() {
		case xmlpull.Text:
			if text := xmlpull.Trim(p.r.Content); sphere && text != "" && len(s.Other) == 0 && p.r.Depth() == depth {
				s.Other = append(s.Other, Note{Text: text})
			}
			continue
		case xmlpull.End:
			if p.r.Depth() < depth {
				return s
			}
			continue
		case xmlpull.EOF:
			return s
		}
		if p.r.Depth() != depth+1 {
			continue
		}
		space, local := p.r.Space, p.r.Local
		switch {
		case local == "note" && (isRPID(space) || isPIDF(space)):
			s.Notes = p.note(s.Notes)
		case local == "other" && isRPID(space):
			s.Other = p.note(s.Other)
		case local == "activity" && isRPID(space):
			// How drafts of RPID wrote it.
			if v := p.r.Text(); xmlpull.IsName(v) {
				s.Values = append(s.Values, v)
			}
		case (isRPID(space) || space == LocationType || space == ExtraNamespace) && xmlpull.IsName(local):
			s.Values = append(s.Values, local)
		}
	}
}

func (p *parser) placeIs() *PlaceIs {
	s := &PlaceIs{}
	s.From, s.Until = p.span()
	depth := p.r.Depth()
	for p.r.Child(depth) {
		if !isRPID(p.r.Space) {
			continue
		}
		var into *string
		var known func(string) bool
		switch p.r.Local {
		case "note":
			s.Notes = p.note(s.Notes)
			continue
		case "audio":
			into, known = &s.Audio, isPlaceAudio
		case "video":
			into, known = &s.Video, isPlaceVideo
		case "text":
			into, known = &s.Text, isPlaceText
		default:
			continue
		}
		for p.r.Child(depth + 1) {
			if known(p.r.Local) {
				*into = p.r.Local
			}
		}
	}
	return s
}

func (p *parser) icon() *Icon {
	i := &Icon{}
	i.From, i.Until = p.span()
	i.URI = p.r.Text()
	return i
}

func (p *parser) userInput() UserInput {
	u := UserInput{LastInput: parseTime(p.r.Attr("", "last-input"))}
	if n, err := strconv.ParseUint(p.r.Attr("", "idle-threshold"), 10, 32); err == nil {
		u.IdleThreshold = uint32(n)
	}
	if u.State = strings.ToLower(p.r.Text()); u.State != Active && u.State != Idle {
		return UserInput{}
	}
	return u
}

func (p *parser) card(c **Card) {
	if *c == nil {
		*c = &Card{}
	}
	switch d := *c; p.r.Local {
	case "card":
		d.Card = p.r.Text()
	case "display-name":
		d.DisplayNames = p.note(d.DisplayNames)
	case "homepage":
		d.Homepage = p.r.Text()
	case "icon":
		d.Icon = p.r.Text()
	case "map":
		d.Map = p.r.Text()
	case "sound":
		d.Sound = p.r.Text()
	}
}

func (p *parser) extra(e *Extra) {
	switch p.r.Local {
	case "availability":
		until := parseTime(p.r.Attr("", "until"))
		if a := Availability(p.r.Text()); a.Valid() {
			e.Availability, e.Until = a, until
		}
	case "device":
		if c := DeviceClass(p.r.Text()); c.Valid() {
			e.Device = c
		}
	case "line":
		if ms, err := strconv.ParseUint(p.r.Attr("", "rtt"), 10, 32); err == nil {
			e.Line.RTT = min(time.Duration(ms)*time.Millisecond, maxRTT)
		}
		if t := Throughput(p.r.Attr("", "throughput")); t.Valid() {
			e.Line.Throughput = t
		}
	case "max-message":
		if n, err := strconv.ParseUint(p.r.Text(), 10, 32); err == nil {
			e.MaxMessage = uint32(n)
		}
	}
}

// priority reads a decimal between 0 and 1 as thousandths. What is out of range counts as not given (RFC 3863 §4.1.5).
func priority(s string) uint16 {
	whole, fraction, _ := strings.Cut(xmlpull.Trim(s), ".")
	n := 0
	switch whole {
	case "", "0", "00":
	case "1", "01":
		n = 1000
	default:
		return 0
	}
	for i, place := 0, 100; i < len(fraction); i, place = i+1, place/10 {
		if fraction[i] < '0' || fraction[i] > '9' {
			return 0
		}
		n += int(fraction[i]-'0') * place
	}
	if n > 1000 {
		return 0
	}
	return uint16(n)
}

// parseTime reads a date and time of RFC 3339; without a zone it is taken for UTC, as some clients mean it. What cannot
// be read is zero.
func parseTime(s string) time.Time {
	if s = xmlpull.Trim(s); len(s) < 19 || len(s) > 40 {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04:05", s); err != nil {
			if t, err = time.Parse(time.RFC3339, strings.ToUpper(s)); err != nil {
				return time.Time{}
			}
		}
	}
	if t = t.UTC(); !writable(t) {
		return time.Time{}
	}
	return t
}
