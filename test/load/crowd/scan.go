package crowd

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What servers say is read by looking for words, not by parsing: one process reads for twenty thousand people. The words
// are those of documents with the usual prefixes; the counts are compared, so that what is written otherwise is noticed.

// notice is what a NOTIFY for a list says of itself (RFC 4662 §5).
type notice struct {
	version   uint32
	full      bool
	resources int // entries of the list
	states    int // of which a part has the state
}

// reading is told what a scan finds.
type reading struct {
	prefix string // of the names of users, before their number
	// resource: an entry of a list; known says that there is an instance, which has a state or is said to have none.
	resource func(who int, known bool)
	// state: a presence document; mark is 0 without one.
	state func(who int, mark uint32, open bool)
}

// scanList reads a multipart/related body whose first part is about the list.
func (r *reading) scanList(contentType string, body []byte) (n notice, err error) {
	boundary := parameter(contentType, "boundary")
	if boundary == "" {
		return n, errors.New("crowd: a list without a boundary")
	}
	from := bytes.Index(body, []byte("<list"))
	to := bytes.Index(body, []byte("</list>"))
	if from < 0 || to < from {
		return n, errors.New("crowd: a list without an end")
	}
	root := body[from:to]
	end := bytes.IndexByte(root, '>')
	head := root[:end+1]
	version, err := strconv.ParseUint(attribute(head, `version="`), 10, 32)
	if err != nil {
		return n, fmt.Errorf("crowd: a list with version %q", attribute(head, `version="`))
	}
	n.version, n.full = uint32(version), attribute(head, `fullState="`) == "true"
	const word = "<resource"
	for at := bytes.Index(root, []byte(word)); at >= 0; {
		root = root[at+len(word):]
		entry := root
		if at = bytes.Index(root, []byte(word)); at >= 0 {
			entry = root[:at]
		}
		who, ok := r.user(attribute(entry, `uri="`))
		if !ok {
			return n, fmt.Errorf("crowd: a list with %q", attribute(entry, `uri="`))
		}
		n.resources++
		instance := bytes.Index(entry, []byte("<instance"))
		if instance >= 0 && attribute(entry[instance:], `cid="`) != "" {
			n.states++
		}
		r.resource(who, instance >= 0)
	}
	states := r.scanStates(body[to:])
	// The delimiters are as many as the parts and the end (RFC 2046 §5.1.1).
	parts := bytes.Count(body, []byte("--"+boundary)) - 2
	if states != n.states || parts != n.states {
		return n, fmt.Errorf("crowd: a list that names %d parts has %d with %d documents", n.states, parts, states)
	}
	return n, nil
}

// scanStates reads presence documents (RFC 3863) one behind the other, with whatever between, and tells how many.
func (r *reading) scanStates(body []byte) int {
	const word = `entity="`
	n := 0
	for at := bytes.Index(body, []byte(word)); at >= 0; n++ {
		who, ok := r.user(attribute(body[at:], word))
		body = body[at+len(word):]
		doc := body
		if at = bytes.Index(body, []byte(word)); at >= 0 {
			doc = body[:at]
		}
		if ok {
			r.state(who, markOf(doc, who), bytes.Contains(doc, []byte("<basic>open")))
		}
	}
	return n
}

// attribute is the value behind the first key, which ends with a quotation mark.
func attribute(b []byte, key string) string {
	i := bytes.Index(b, []byte(key))
	if i < 0 {
		return ""
	}
	b = b[i+len(key):]
	i = bytes.IndexByte(b, '"')
	if i < 0 {
		return ""
	}
	return string(b[:i])
}

// parameter is that of a header's value, with or without quotation marks.
func parameter(value, name string) string {
	_, rest, ok := strings.Cut(value, name+"=")
	if !ok {
		return ""
	}
	if rest, ok := strings.CutPrefix(rest, `"`); ok {
		rest, _, _ = strings.Cut(rest, `"`)
		return rest
	}
	rest, _, _ = strings.Cut(rest, ";")
	return strings.TrimSpace(rest)
}

// user is the number of a URI's user.
func (r *reading) user(uri string) (int, bool) {
	_, rest, _ := strings.Cut(uri, ":")
	rest, _, ok := strings.Cut(rest, "@")
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutPrefix(rest, r.prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}

// A mark is the note of a person that a change publishes: watchers see by it which change they have.
const markWord = "lm-"

func appendMark(b []byte, who int, number uint32) []byte {
	b = strconv.AppendInt(append(b, markWord...), int64(who), 10)
	b = strconv.AppendUint(append(b, '-'), uint64(number), 10)
	return append(b, '-')
}

// markOf is the number of the first mark of somebody in a document, 0 without one.
func markOf(doc []byte, who int) uint32 {
	i := bytes.Index(doc, []byte(markWord))
	if i < 0 {
		return 0
	}
	text := doc[i+len(markWord):]
	owner, text, ok := cutNumber(text)
	number, _, ok2 := cutNumber(text)
	if !ok || !ok2 || owner != uint64(who) {
		return 0
	}
	return uint32(number)
}

func cutNumber(b []byte) (n uint64, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c == '-' && i > 0:
			return n, b[i+1:], true
		case c < '0' || c > '9' || i > 9:
			return 0, nil, false
		}
		n = n*10 + uint64(c-'0')
	}
	return 0, nil, false
}

// document is what somebody publishes: a person who does something, with a mark, and a device that can be reached.
func document(b []byte, aor string, who int, number uint32) []byte {
	activity := [...]string{"<rpid:busy/>", "<rpid:meeting/>", "<rpid:away/>", "<rpid:unknown/>"}[number%4]
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" `+
		`xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="`...)
	b = append(append(b, aor...), `"><tuple id="t1"><status><basic>open</basic></status><contact>`...)
	b = append(append(b, aor...), `</contact></tuple><dm:person id="p1"><rpid:activities>`...)
	b = append(append(b, activity...), `</rpid:activities><dm:note>`...)
	b = appendMark(b, who, number)
	return append(b, `</dm:note></dm:person></presence>`...)
}
