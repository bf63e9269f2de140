// Package pidf reads and writes presence documents: PIDF (RFC 3863 §4) with the data model of RFC 4479 §5, the rich
// presence of RFC 4480 §3, contact information of RFC 4482 §3 and capabilities of RFC 5196 §3; and the partial documents
// of RFC 5262, patched as RFC 5261 says.
//
// Reading is lenient: what is not known is skipped (RFC 3863 §4.2.3), what is malformed is left out, older spellings of
// clients in the field are understood. Writing is strict: the elements stand where the schemas want them, names and
// numbers are in range, and characters that XML cannot carry become U+FFFD.
//
// # Elements of our own
//
// The namespace urn:parley:presence adds what people ask for and no RFC says. Other clients ignore it. All elements are
// optional children of tuple, person and device:
//
//	<availability until="2026-01-05T14:00:00Z">dnd</availability>
//	    available, busy, in-call, in-meeting, dnd, brb, away or offline; until is when it is expected to end
//	<device>phone</device>
//	    desktop, phone, tablet, desk-phone or browser
//	<line rtt="85" throughput="slow"/>
//	    the connection: round trip in milliseconds, and slow, medium or fast
//	<max-message>65536</max-message>
//	    the longest message in bytes that is welcome on the device
//
// Activities, moods, methods and other enumerated values that their RFC does not list are written as elements of this
// namespace too, because the schemas leave no other place for them.
//
// # Where RFCs contradict themselves
//
// Documents are valid by the schemas, but for four things that the text of the RFCs defines and their schemas forgot:
// the activity lunch (RFC 4480 §3.2), spheres by free text (RFC 4480 §4), the language of display names (RFC 4482
// §3.2) and higherthan (RFC 5196 §3.2.15.2).
package pidf

import (
	"errors"
	"strconv"
	"time"

	"github.com/parley-im/parley/wire/xmlpull"
)

// The media types of full and of partial documents.
const (
	ContentType     = "application/pidf+xml"
	DiffContentType = "application/pidf-diff+xml"
)

// The namespaces.
const (
	Namespace         = "urn:ietf:params:xml:ns:pidf"
	DataModel         = "urn:ietf:params:xml:ns:pidf:data-model"
	RPID              = "urn:ietf:params:xml:ns:pidf:rpid"
	Caps              = "urn:ietf:params:xml:ns:pidf:caps"
	CIPID             = "urn:ietf:params:xml:ns:pidf:cipid"
	LocationType      = "urn:ietf:params:xml:ns:location-type"
	DiffNamespace     = "urn:ietf:params:xml:ns:pidf-diff"
	ExtraNamespace    = "urn:parley:presence"
	oldNamespace      = "urn:ietf:params:xml:ns:cpim-pidf" // drafts of RFC 3863
	imStatusNamespace = "urn:ietf:params:xml:ns:pidf:im"
)

// Limits of documents that are read.
const (
	MaxBytes = 64 << 10
	MaxDepth = 16
	MaxItems = 256 // tuples, persons and devices together
)

// ErrInvalid is wrapped by errors that are about meaning; those about XML wrap one of xmlsafe's.
var ErrInvalid = errors.New("pidf: invalid document")

// Presence is one document. Strings of a document that was read are views on one copy of it.
type Presence struct {
	Entity  string // pres: or sip: URI of the presentity (RFC 4479 §3.1)
	Tuples  []Tuple
	Notes   []Note
	Persons []Person
	Devices []Device
}

// Note is text for people. Lang is a language tag, "" when not told.
type Note struct{ Lang, Text string }

// The values of Tuple.Basic (RFC 3863 §4.1.4).
const (
	Open   = "open"
	Closed = "closed"
)

// Tuple is one way of reaching somebody: a service on a device (RFC 3863 §4.1.2).
type Tuple struct {
	ID           string // unique in the document, the same from one document to the next
	Basic        string // Open, Closed or "" when not told
	DeviceIDs    []string
	Class        string
	UserInput    UserInput
	Relationship *Set
	ServiceClass *Set
	Privacy      *Set
	StatusIcon   *Icon
	Caps         *ServiceCaps
	Card         *Card
	Extra        Extra
	Contact      string // URI, "" when hidden
	Priority     uint16 // of the contact, in thousandths: 0 (also: not told) to 1000
	Notes        []Note
	Timestamp    time.Time // of the last change; zero when not told
}

// Person is about the human (RFC 4479 §3.2).
type Person struct {
	ID         string
	Activities []Set // more than one for different times
	Class      string
	Moods      []Set
	PlaceIs    *PlaceIs
	PlaceType  *Set
	Privacy    *Set
	Sphere     *Set // Other holds the name of a sphere that is not an XML name
	StatusIcon *Icon
	TimeOffset *TimeOffset
	UserInput  UserInput
	Card       *Card
	Extra      Extra
	Notes      []Note
	Timestamp  time.Time
}

// Device is about a device (RFC 4479 §3.4).
type Device struct {
	ID        string
	DeviceID  string // URN, such as the instance of a registration
	Class     string
	UserInput UserInput
	Caps      *DeviceCaps
	Extra     Extra
	Notes     []Note
	Timestamp time.Time
}

// Availability is the state that people know, one word for a person or a device.
type Availability string

// The availabilities.
const (
	Available Availability = "available"
	Busy      Availability = "busy"
	InCall    Availability = "in-call"
	InMeeting Availability = "in-meeting"
	DND       Availability = "dnd" // do not disturb
	BRB       Availability = "brb" // be right back
	Away      Availability = "away"
	Offline   Availability = "offline"
)

// Valid says whether a is one of the constants.
func (a Availability) Valid() bool {
	switch a {
	case Available, Busy, InCall, InMeeting, DND, BRB, Away, Offline:
		return true
	}
	return false
}

// DeviceClass is what kind of device it is: it tells how much text fits and what can be done with it.
type DeviceClass string

// The classes.
const (
	Desktop   DeviceClass = "desktop"
	Phone     DeviceClass = "phone" // one to carry, with a small screen
	Tablet    DeviceClass = "tablet"
	DeskPhone DeviceClass = "desk-phone"
	Browser   DeviceClass = "browser"
)

// Valid says whether c is one of the constants.
func (c DeviceClass) Valid() bool {
	switch c {
	case Desktop, Phone, Tablet, DeskPhone, Browser:
		return true
	}
	return false
}

// Throughput is what a line can carry.
type Throughput string

// The classes of throughput, in bits per second.
const (
	Slow   Throughput = "slow"   // under 256,000: no large files
	Medium Throughput = "medium" // under 2,000,000
	Fast   Throughput = "fast"
)

// Valid says whether t is one of the constants.
func (t Throughput) Valid() bool { return t == Slow || t == Medium || t == Fast }

// ThroughputOf is the class of a measured rate in bits per second; "" for 0, which means not measured.
func ThroughputOf(bitsPerSecond uint64) Throughput {
	switch {
	case bitsPerSecond == 0:
		return ""
	case bitsPerSecond < 256_000:
		return Slow
	case bitsPerSecond < 2_000_000:
		return Medium
	}
	return Fast
}

// Line is the connection of a device.
type Line struct {
	RTT        time.Duration // round trip in whole milliseconds, at most a minute; 0 when not known
	Throughput Throughput    // "" when not known
}

// Extra is what the namespace urn:parley:presence says about a tuple, a person or a device. Zero values are not
// written, and neither are values that are not Valid.
type Extra struct {
	Availability Availability
	Until        time.Time // when Availability is expected to end
	Device       DeviceClass
	Line         Line
	MaxMessage   uint32 // bytes; 0 when not known
}

// maxRTT is the longest round trip that is told.
const maxRTT = time.Minute

// Normalize makes the identifiers of a document valid and unique, as Append needs them to write a valid document.
// A missing one is made from the kind and the place of its element; the later one of two that are equal gets a suffix.
// Parse has done this already.
func (p *Presence) Normalize() {
	// How many there were of each; it is where the search for a free suffix begins.
	seen := make(map[string]int, len(p.Tuples)+len(p.Persons)+len(p.Devices))
	fix := func(id *string, kind string, i int) {
		base := *id
		if base == "" {
			base = kind + strconv.Itoa(i+1)
		}
		if !xmlpull.IsName(base) {
			base = string(appendID(nil, base))
		}
		s := base
		for seen[s] > 0 {
			seen[base]++
			s = base + "." + strconv.Itoa(seen[base])
		}
		seen[s] = 1
		*id = s
	}
	for i := range p.Tuples {
		fix(&p.Tuples[i].ID, "t", i)
	}
	for i := range p.Persons {
		fix(&p.Persons[i].ID, "p", i)
	}
	for i := range p.Devices {
		fix(&p.Devices[i].ID, "d", i)
	}
}

// appendID appends an identifier as an xs:ID. One that is not a name gets an underscore before it and its foreign bytes
// in hexadecimal, so that different ones stay different.
func appendID(b []byte, id string) []byte {
	if xmlpull.IsName(id) {
		return append(b, id...)
	}
	const digits = "0123456789abcdef"
	b = append(b, '_')
	for i := range len(id) {
		c := id[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b = append(b, c)
		} else {
			b = append(b, '.', digits[c>>4], digits[c&15])
		}
	}
	return b
}
