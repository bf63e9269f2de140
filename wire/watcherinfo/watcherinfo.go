// Package watcherinfo reads and writes application/watcherinfo+xml: who watches somebody, and in which state each
// subscription is (RFC 3858 §3, with the states and events of RFC 3857 §4.7).
package watcherinfo

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/parley-im/parley/wire/xmlpull"
)

// ContentType is the media type of a document, Namespace its namespace (RFC 3858 §3).
const (
	ContentType = "application/watcherinfo+xml"
	Namespace   = "urn:ietf:params:xml:ns:watcherinfo"
)

// Limits of documents that are read.
const (
	MaxBytes = 2 << 20
	MaxDepth = 8
)

// ErrInvalid is wrapped by the errors of Parse that are about meaning; those about XML wrap one of xmlsafe's.
var ErrInvalid = errors.New("watcherinfo: invalid document")

// Status is the state of a subscription (RFC 3857 §4.7.1).
type Status string

// The states. Waiting is a subscription that ended before anybody decided about it; the owner may still do so.
const (
	Active     Status = "active"
	Pending    Status = "pending"
	Waiting    Status = "waiting"
	Terminated Status = "terminated"
)

// Valid says whether s is one of the constants.
func (s Status) Valid() bool {
	return s == Active || s == Pending || s == Waiting || s == Terminated
}

// Event is what brought a subscription into its state (RFC 3857 §4.7.1).
type Event string

// The events.
const (
	Subscribe   Event = "subscribe"
	Approved    Event = "approved"
	Deactivated Event = "deactivated"
	Probation   Event = "probation"
	Rejected    Event = "rejected"
	Timeout     Event = "timeout"
	GiveUp      Event = "giveup"
	NoResource  Event = "noresource"
)

// Valid says whether e is one of the constants.
func (e Event) Valid() bool {
	switch e {
	case Subscribe, Approved, Deactivated, Probation, Rejected, Timeout, GiveUp, NoResource:
		return true
	}
	return false
}

// Document is one notification body. Version counts from 0 within a subscription. Partial says that only what changed is
// there.
type Document struct {
	Version uint32
	Partial bool
	Lists   []List
}

// List is who watches one resource, for one event package such as "presence".
type List struct {
	Resource, Package string
	Watchers          []Watcher
}

// Watcher is one subscription. ID is the same for the whole life of the subscription and holds only what a token may.
type Watcher struct {
	URI         string // who watches
	ID          string
	Status      Status
	Event       Event
	DisplayName string
	Lang        string  // of DisplayName
	Subscribed  uint64  // seconds since the SUBSCRIBE; 0 is not written
	Expiration  *uint64 // seconds left, nil when not told
}

// Append appends the document. Characters that XML 1.0 cannot carry become U+FFFD.
func (d *Document) Append(b []byte) []byte {
	b = d.AppendStart(b)
	for i := range d.Lists {
		l := &d.Lists[i]
		b = AppendListStart(b, l.Resource, l.Package)
		for j := range l.Watchers {
			b = l.Watchers[j].Append(b)
		}
		b = AppendListEnd(b)
	}
	return AppendEnd(b)
}

// AppendStart begins a document without its lists. Together with AppendListStart, Watcher.Append, AppendListEnd and
// AppendEnd it writes long lists as they come from where they are kept.
func (d *Document) AppendStart(b []byte) []byte {
	b = append(b, xmlpull.Header...)
	b = append(b, `<watcherinfo xmlns="`+Namespace+`"`...)
	b = xmlpull.AppendUintAttr(b, "version", uint64(d.Version))
	if d.Partial {
		return append(b, ` state="partial">`...)
	}
	return append(b, ` state="full">`...)
}

// AppendListStart begins a list.
func AppendListStart(b []byte, resource, pkg string) []byte {
	b = append(b, "<watcher-list"...)
	b = xmlpull.AppendAttr(b, "resource", resource)
	b = xmlpull.AppendAttr(b, "package", pkg)
	return append(b, '>')
}

// AppendListEnd ends a list.
func AppendListEnd(b []byte) []byte { return append(b, "</watcher-list>"...) }

// AppendEnd ends a document.
func AppendEnd(b []byte) []byte { return append(b, "</watcherinfo>"...) }

// Append appends the element of one watcher.
func (w *Watcher) Append(b []byte) []byte {
	b = append(b, "<watcher"...)
	b = xmlpull.AppendAttr(b, "status", string(w.Status))
	b = xmlpull.AppendAttr(b, "id", w.ID)
	b = xmlpull.AppendAttr(b, "event", string(w.Event))
	if w.DisplayName != "" {
		b = xmlpull.AppendAttr(b, "display-name", w.DisplayName)
		if w.Lang != "" {
			b = xmlpull.AppendAttr(b, "xml:lang", w.Lang)
		}
	}
	if w.Subscribed > 0 {
		b = xmlpull.AppendUintAttr(b, "duration-subscribed", w.Subscribed)
	}
	if w.Expiration != nil {
		b = xmlpull.AppendUintAttr(b, "expiration", *w.Expiration)
	}
	b = append(b, '>')
	b = xmlpull.AppendText(b, w.URI)
	return append(b, "</watcher>"...)
}

// Parse reads a document. Elements and attributes that are not known are ignored (RFC 3858 §3).
func Parse(doc []byte) (*Document, error) {
	var r xmlpull.Reader
	if err := r.Open(doc, xmlpull.Limits{Bytes: MaxBytes, Depth: MaxDepth}); err != nil {
		return nil, fmt.Errorf("watcherinfo: parse: %w", err)
	}
	if r.Space != Namespace || r.Local != "watcherinfo" {
		return nil, fmt.Errorf("%w: the root is %q of %q", ErrInvalid, clip(r.Local), clip(r.Space))
	}
	d := &Document{Partial: r.Attr("", "state") == "partial"}
	if !d.Partial && r.Attr("", "state") != "full" {
		return nil, fmt.Errorf("%w: state %q", ErrInvalid, clip(r.Attr("", "state")))
	}
	version, err := strconv.ParseUint(r.Attr("", "version"), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: version %q", ErrInvalid, clip(r.Attr("", "version")))
	}
	d.Version = uint32(version)
	for r.Child(1) {
		if r.Space != Namespace || r.Local != "watcher-list" {
			continue
		}
		l := List{Resource: r.Attr("", "resource"), Package: r.Attr("", "package")}
		if l.Resource == "" || l.Package == "" {
			return nil, fmt.Errorf("%w: a list without resource or package", ErrInvalid)
		}
		for r.Child(2) {
			if r.Space != Namespace || r.Local != "watcher" {
				continue
			}
			w, err := watcher(&r)
			if err != nil {
				return nil, err
			}
			l.Watchers = append(l.Watchers, w)
		}
		d.Lists = append(d.Lists, l)
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("watcherinfo: parse: %w", err)
	}
	return d, nil
}

func watcher(r *xmlpull.Reader) (Watcher, error) {
	w := Watcher{ID: r.Attr("", "id"), Status: Status(r.Attr("", "status")), Event: Event(r.Attr("", "event"))}
	if w.DisplayName = r.Attr("", "display-name"); w.DisplayName != "" {
		w.Lang = r.Attr(xmlpull.XMLNamespace, "lang")
	}
	if w.ID == "" || !w.Status.Valid() || !w.Event.Valid() {
		return w, fmt.Errorf("%w: a watcher without id, status or event", ErrInvalid)
	}
	var err error
	number := func(name string) (n uint64, told bool) {
		s := r.Attr("", name)
		if s == "" || err != nil {
			return 0, false
		}
		if n, err = strconv.ParseUint(s, 10, 63); err != nil {
			err = fmt.Errorf("%w: %s %q", ErrInvalid, name, clip(s))
		}
		return n, true
	}
	w.Subscribed, _ = number("duration-subscribed")
	if n, told := number("expiration"); told {
		w.Expiration = &n
	}
	w.URI = r.Text()
	return w, err
}

func clip(s string) string { return s[:min(len(s), 60)] }
