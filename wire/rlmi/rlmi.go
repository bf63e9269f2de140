// Package rlmi reads and writes the state of resource lists: the application/rlmi+xml document of RFC 4662 §5 and the
// multipart/related body (RFC 2387) whose root it is, with Content-IDs of RFC 2392.
package rlmi

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/parley-im/parley/wire/xmlpull"
)

// ContentType is the media type of the document about the list; MultipartType that of the whole body.
const (
	ContentType   = "application/rlmi+xml"
	MultipartType = "multipart/related"
)

// Namespace is that of RFC 4662 §5.1.
const Namespace = "urn:ietf:params:xml:ns:rlmi"

// Errors of Parse are about XML and wrap one of xmlsafe's, or wrap one of these.
var (
	ErrInvalid  = errors.New("rlmi: invalid document")
	ErrFormat   = errors.New("rlmi: malformed multipart body")
	ErrTooLarge = errors.New("rlmi: body over the limit")
	// ErrBoundary says that a part holds the boundary: the body must be written again with another one.
	ErrBoundary = errors.New("rlmi: a part holds the boundary")
)

// State is that of the subscription to one instance, as in Subscription-State (RFC 4662 §5.5).
type State string

// The states.
const (
	Active     State = "active"
	Pending    State = "pending"
	Terminated State = "terminated"
)

// Name is a name for people; Lang is a language tag, "" when not told.
type Name struct{ Lang, Text string }

// List is one document. Version counts from 0 within a subscription. Full says that all resources are there, else only
// those that changed. CID is the Content-ID of a part about the list as a whole, "" for none.
type List struct {
	URI       string
	Version   uint32
	Full      bool
	CID       string
	Names     []Name
	Resources []Resource
}

// Resource is one entry of the list. Without instances nothing is known about it yet (RFC 4662 §4.5).
type Resource struct {
	URI       string
	Names     []Name
	Instances []Instance
}

// Instance is one notifier of a resource. Reason is told with Terminated. CID is the Content-ID, without brackets, of
// the part that holds its state, "" for none.
type Instance struct {
	ID     string
	State  State
	Reason string
	CID    string
}

// Limits of Parse.
type Limits struct {
	Bytes int // of the whole body
	Parts int // of the multipart; the document about the list is one
}

// DefaultLimits fit a list of two thousand contacts.
var DefaultLimits = Limits{Bytes: 8 << 20, Parts: 2048}

// Bounds of the document about the list.
const (
	maxDocument = 2 << 20
	maxDepth    = 8
)

// ParseList reads one application/rlmi+xml document.
func ParseList(doc []byte) (*List, error) {
	var r xmlpull.Reader
	if err := r.Open(doc, xmlpull.Limits{Bytes: maxDocument, Depth: maxDepth}); err != nil {
		return nil, fmt.Errorf("rlmi: parse: %w", err)
	}
	if r.Space != Namespace || r.Local != "list" {
		return nil, fmt.Errorf("%w: the root is %q of %q", ErrInvalid, clip(r.Local), clip(r.Space))
	}
	l := &List{URI: xmlpull.Trim(r.Attr("", "uri")), CID: contentID(r.Attr("", "cid"))}
	version, err := strconv.ParseUint(r.Attr("", "version"), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: version %q", ErrInvalid, clip(r.Attr("", "version")))
	}
	l.Version = uint32(version)
	switch s := strings.ToLower(r.Attr("", "fullState")); s {
	case "true", "1":
		l.Full = true
	case "false", "0":
	default:
		return nil, fmt.Errorf("%w: fullState %q", ErrInvalid, clip(s))
	}
	if l.URI == "" {
		return nil, fmt.Errorf("%w: a list without uri", ErrInvalid)
	}
	for r.Child(1) {
		switch {
		case r.Space != Namespace:
		case r.Local == "name":
			l.Names = name(&r, l.Names)
		case r.Local == "resource":
			res, err := resource(&r)
			if err != nil {
				return nil, err
			}
			l.Resources = append(l.Resources, res)
		}
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("rlmi: parse: %w", err)
	}
	return l, nil
}

func resource(r *xmlpull.Reader) (Resource, error) {
	res := Resource{URI: xmlpull.Trim(r.Attr("", "uri"))}
	if res.URI == "" {
		return res, fmt.Errorf("%w: a resource without uri", ErrInvalid)
	}
	for r.Child(2) {
		switch {
		case r.Space != Namespace:
		case r.Local == "name":
			res.Names = name(r, res.Names)
		case r.Local == "instance":
			i := Instance{ID: r.Attr("", "id"), State: State(r.Attr("", "state")), Reason: r.Attr("", "reason"), CID: contentID(r.Attr("", "cid"))}
			if i.ID == "" || i.State != Active && i.State != Pending && i.State != Terminated {
				return res, fmt.Errorf("%w: an instance without id or state", ErrInvalid)
			}
			res.Instances = append(res.Instances, i)
		}
	}
	return res, nil
}

func name(r *xmlpull.Reader, names []Name) []Name {
	n := Name{Lang: r.Attr(xmlpull.XMLNamespace, "lang")}
	if n.Text = r.Text(); n.Text != "" {
		names = append(names, n)
	}
	return names
}

func clip(s string) string { return s[:min(len(s), 60)] }

// contentID is a Content-ID in the form of RFC 4662 §5.5: without the brackets of the header.
func contentID(s string) string {
	s = xmlpull.Trim(s)
	if len(s) > 1 && s[0] == '<' && s[len(s)-1] == '>' {
		return s[1 : len(s)-1]
	}
	return s
}
