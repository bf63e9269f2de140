package presence

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/route"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
	"github.com/parley-im/parley/wire/xmlsafe"
)

// publication is one document that a device published. Its entity tag is the id, a dot and a number that counts the PUBLISH
// requests (RFC 3903 §6 step 6: each success makes a new tag). The store has the tag of some moment in the last second or so;
// after a restart a later number of the same id is its owner's all the same. It is guarded by the entity's mutex.
type publication struct {
	compose.Publication
	id       string
	n        uint64
	restored bool // not refreshed since it was loaded
	bytes    int64
	flow     transport.Flow // where it came from last; zero after a restart

	stored  string // tag of its row; guarded by publishing.mu, as is the next one
	dropped bool
}

func (p *publication) tag() string { return p.id + "." + strconv.FormatUint(p.n, 36) }

// request is what a PUBLISH asks for.
type request struct {
	match   string // SIP-If-Match
	expires time.Duration
	doc     *pidf.Presence // nil: no body
	size    int64
	device  string
	alone   bool // the device is not registered
	flow    transport.Flow
}

// Publish answers a PUBLISH request: RFC 3903 §6. The steps are in the order of that section.
func (s *Service) Publish(r *route.Request) {
	m := r.Msg
	aor := r.URI().AOR()
	// Step 1. That there is no such address is told to nobody but its owner, who may do this.
	if aor == "" || aor != r.Identity.AOR {
		s.refuse(r, "foreign", 403, "you can publish only your own presence, to "+uriOf(r.Identity.AOR))
		return
	}
	// Step 2: the mux has looked at the Event header.
	if !s.ready.Load() {
		r.Reply(500, "", route.Header(sip.HRetryAfter, "5"))
		return
	}
	// Step 3.
	q := request{flow: r.Flow, device: s.o.DeviceOf(r), alone: true}
	for _, d := range s.o.Devices(aor) {
		q.alone = q.alone && d.ID != q.device
	}
	if m.Has(sip.HSIPIfMatch) {
		q.match = m.Get(sip.HSIPIfMatch)
		if m.Count(sip.HSIPIfMatch) > 1 || q.match == "" || strings.ContainsAny(q.match, ", \t") {
			s.refuse(r, "malformed", 400, "SIP-If-Match has exactly one entity tag")
			return
		}
	}
	if q.match != "" && !s.holds(aor, q.match) {
		s.refuse(r, "stale", 412, "")
		return
	}
	// Step 4.
	var status int
	if q.expires, status = s.expiry(m); status != 0 {
		if status == 423 {
			s.metrics.refused.WithLabelValues("brief").Inc()
			r.Reply(423, "", route.Header(sip.HMinExpires, seconds(s.o.Limits.MinExpires)))
			return
		}
		s.refuse(r, "malformed", status, "Expires is no number of seconds")
		return
	}
	// Step 5.
	if !s.readBody(r, &q) {
		return
	}
	if q.match == "" && q.doc == nil {
		s.refuse(r, "malformed", 400, "the first PUBLISH has a body")
		return
	}
	tag, status, why := s.apply(aor, &q)
	if status != 0 {
		s.refuse(r, "limit", status, why)
		return
	}
	// Step 6.
	s.metrics.published.Inc()
	r.Reply(200, "", route.Header(sip.HSIPETag, tag), route.Header(sip.HExpires, seconds(q.expires)))
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func (s *Service) refuse(r *route.Request, label string, status int, why string) {
	s.metrics.refused.WithLabelValues(label).Inc()
	if status == 500 {
		r.Reply(status, "", route.Warn(why), route.Header(sip.HRetryAfter, "5"))
		return
	}
	if why == "" {
		r.Reply(status, "")
		return
	}
	r.Reply(status, "", route.Warn(why))
}

// expiry reads Expires: too short is 423, too long is shortened.
func (s *Service) expiry(m *sip.Message) (time.Duration, int) {
	l := &s.o.Limits
	if !m.Has(sip.HExpires) {
		return l.DefaultExpires, 0
	}
	v, ok := m.Int(sip.HExpires)
	if !ok {
		return 0, 400
	}
	d := time.Duration(v) * time.Second
	if d > 0 && d < l.MinExpires {
		return 0, 423
	}
	return min(d, l.MaxExpires), 0
}

// readBody reads the document; false when the request was refused.
func (s *Service) readBody(r *route.Request, q *request) bool {
	body := r.Msg.Body()
	if len(body) == 0 {
		return true
	}
	limit := s.o.Limits.PublicationBytes
	if t, _ := r.Msg.ContentType(); t != pidf.ContentType {
		s.metrics.refused.WithLabelValues("type").Inc()
		r.Reply(415, "", route.Header(sip.HAccept, pidf.ContentType))
		return false
	}
	if encoding := r.Msg.Get(sip.HContentEncoding); encoding != "" {
		var err error
		body, err = mime.Inflate(encoding, body, limit)
		if errors.Is(err, mime.ErrEncoding) {
			r.Reply(415, "", route.Header(sip.HAcceptEncoding, mime.Encodings))
			return false
		}
		if err != nil && !errors.Is(err, mime.ErrTooLarge) {
			s.refuse(r, "malformed", 400, "the body cannot be unpacked")
			return false
		}
		if err != nil {
			body = make([]byte, limit+1)
		}
	}
	if len(body) > limit {
		s.refuse(r, "large", 413, "a document may have "+strconv.Itoa(limit)+" bytes at most")
		return false
	}
	doc, err := pidf.Parse(body)
	switch {
	case errors.Is(err, xmlsafe.ErrTooLarge):
		s.refuse(r, "large", 413, quotable(err.Error()))
		return false
	case err != nil:
		s.refuse(r, "malformed", 400, quotable(err.Error()))
		return false
	}
	q.doc, q.size = doc, int64(len(body))
	return true
}

// holds tells whether a tag is that of a publication of somebody.
func (s *Service) holds(aor, tag string) bool {
	e := s.table.find(aor)
	if e == nil {
		return false
	}
	defer s.unpin(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.published(tag, time.Now()) != nil
}

// published finds a publication by its tag; mu is held.
func (e *entity) published(tag string, now time.Time) *publication {
	id, number, _ := strings.Cut(tag, ".")
	n, err := strconv.ParseUint(number, 36, 64)
	if err != nil {
		return nil
	}
	for _, p := range e.pubs {
		if p.id == id && p.Expires.After(now) && (p.n == n || p.restored && n > p.n && n-p.n < 1<<20) {
			return p
		}
	}
	return nil
}

// apply makes the change, as a whole or not at all, and returns the new tag.
func (s *Service) apply(aor string, q *request) (tag string, status int, why string) {
	e := s.table.get(aor)
	defer s.unpin(e)
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	s.expire(e, now)
	var p *publication
	if q.match != "" {
		if p = e.published(q.match, now); p == nil {
			return "", 412, "" // it has gone since it was looked for
		}
		_, number, _ := strings.Cut(q.match, ".")
		if n, err := strconv.ParseUint(number, 36, 64); err == nil {
			p.n = n
		}
	}
	if q.expires == 0 {
		if p == nil {
			return newID() + ".0", 0, "" // nothing is kept of it
		}
		p.n++
		tag = p.tag()
		s.drop(e, p)
		s.changed(e)
		return tag, 0, ""
	}
	if p == nil {
		if p, status, why = s.initial(e, q); status != 0 {
			return "", status, why
		}
	} else if q.doc != nil && s.publish.bytes.Load()+q.size-p.bytes > s.o.Limits.PublishedBytes {
		return "", 500, "too much is published at the moment"
	}
	p.n++
	p.restored, p.flow = false, q.flow
	p.ETag, p.Expires = p.tag(), now.Add(q.expires)
	news := q.doc != nil || p.Alone != q.alone
	p.Alone = q.alone
	if q.doc != nil {
		s.publish.bytes.Add(q.size - p.bytes)
		p.Doc, p.bytes, p.Updated = q.doc, q.size, now
		if q.device != "" {
			p.Device = strings.Clone(q.device)
		}
	}
	s.keep(e.aor, p)
	if news {
		s.changed(e)
	} else {
		s.alarm.set(e, p.Expires)
	}
	return p.ETag, 0, ""
}

// initial makes room for a publication; e.mu is held. One of the same device whose connection is gone, because the client
// crashed or the server did, is replaced.
func (s *Service) initial(e *entity, q *request) (*publication, int, string) {
	var lost *publication
	held, size := len(e.pubs), s.publish.bytes.Load()+q.size
	for _, old := range e.pubs {
		// Of those that never sign in nobody knows which is which.
		if old.Device == q.device && !q.alone && (old.restored || !old.flow.Alive()) {
			lost, held, size = old, held-1, size-old.bytes
			break
		}
	}
	if held >= s.o.Limits.Publications {
		return nil, 403, "there are " + strconv.Itoa(s.o.Limits.Publications) + " publications already, which is the most; remove some first"
	}
	if size > s.o.Limits.PublishedBytes {
		return nil, 500, "too much is published at the moment"
	}
	if lost != nil {
		s.drop(e, lost)
	}
	p := &publication{id: newID()}
	p.Device = strings.Clone(q.device)
	e.pubs = append(e.pubs, p)
	s.publish.count.Add(1)
	return p, 0, ""
}

// newID makes an id that nobody can guess.
func newID() string { return rand.Text()[:16] }

// changed notes that the sources of an entity changed; e.mu is held, and it is pinned.
func (s *Service) changed(e *entity) {
	e.gen++
	s.enqueue(e)
}
