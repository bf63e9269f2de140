package transaction

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// datagramMax is the size in bytes above which a request does not go over UDP when the path MTU is not known (RFC 3261
// §18.1.1).
const datagramMax = 1300

// What an address that refused TCP is remembered for, and how many there may be.
const (
	refusedFor  = 10 * time.Minute
	refusedMost = 4096
)

// fallback is a large request as it goes over UDP if TCP does not work.
type fallback struct {
	flow   transport.Flow
	sentBy string
	data   []byte
}

// rendered is a request that is ready to go.
type rendered struct {
	flow     transport.Flow
	sentBy   string
	data     []byte
	fallback *fallback
}

// flowOf is the flow of a hop: the given one, if it is alive or there is no other.
func (l *Layer) flowOf(h *Hop) (transport.Flow, error) {
	if !h.Flow.IsZero() && (h.Flow.Alive() || h.Target.Kind == 0) {
		return h.Flow, nil
	}
	return l.transport.Flow(h.Target)
}

// render puts our Via on top of a request and chooses between UDP and TCP by its size (RFC 3261 §18.1.1).
func (l *Layer) render(f transport.Flow, sticky bool, branch []byte, q *outgoing) rendered {
	name, sentBy := l.transport.Via(f)
	r := rendered{flow: f, sentBy: sentBy, data: q.bytes(name, sentBy, branch)}
	if f.Kind() != transport.UDP || sticky || len(r.data) <= datagramMax || l.small.has(f.Remote()) {
		return r
	}
	tcp, err := l.transport.Flow(transport.Target{Kind: transport.TCP, Addr: f.Remote()})
	if err != nil {
		l.metrics.tooLarge.stayed.Inc()
		return r
	}
	l.metrics.tooLarge.changed.Inc()
	large := rendered{flow: tcp}
	if !tcp.Established() {
		large.fallback = &fallback{flow: f, sentBy: sentBy, data: r.data}
	}
	// The Via says what the request really goes over.
	name, large.sentBy = l.transport.Via(tcp)
	large.data = q.again(r.data, name, large.sentBy, branch)
	return large
}

// ViaRoom is the room that SendBytes needs in front of a request. It holds our Via, as a rule.
const ViaRoom = 128

// outgoing is a request that is to be sent: a draft, or text as SendBytes takes it.
type outgoing struct {
	draft *sip.Draft
	text  []byte
	line  int // length of the request line
}

// bytes renders the request with our Via on top.
func (q *outgoing) bytes(name, sentBy string, branch []byte) []byte {
	if q.draft != nil {
		return q.draft.Prepend(sip.HVia, viaValue(name, sentBy, branch)).Bytes()
	}
	// The request line moves forward, so that the Via ends where the other rows begin.
	const most = len("Via: SIP/2.0/ ;branch=;rport\r\n")
	head := q.text[ViaRoom : ViaRoom+q.line]
	if most+len(name)+len(sentBy)+len(branch) > ViaRoom {
		b := make([]byte, 0, len(q.text)+len(name)+len(sentBy)+len(branch))
		return append(appendVia(append(b, head...), name, sentBy, branch), q.text[ViaRoom+q.line:]...)
	}
	var room [ViaRoom]byte
	via := appendVia(room[:0], name, sentBy, branch)
	b := q.text[ViaRoom-len(via):]
	copy(b, head)
	copy(b[q.line:], via)
	return b
}

// again renders it for another transport. was is what bytes returned, and stays as it is.
func (q *outgoing) again(was []byte, name, sentBy string, branch []byte) []byte {
	if q.draft != nil {
		return q.draft.ReplaceFirst(sip.HVia, viaValue(name, sentBy, branch)).Bytes()
	}
	b := make([]byte, 0, len(was)+len(name)+len(sentBy)+len(branch))
	b = appendVia(append(b, was[:q.line]...), name, sentBy, branch)
	return append(b, q.text[ViaRoom+q.line:]...)
}

// appendVia writes our Via as a row.
func appendVia(b []byte, name, sentBy string, branch []byte) []byte {
	b = append(append(append(b, "Via: SIP/2.0/"...), name...), ' ')
	b = append(append(append(b, sentBy...), ";branch="...), branch...)
	if name == transport.UDP.ViaName() {
		b = append(b, ";rport"...)
	}
	return append(b, "\r\n"...)
}

// viaValue is our Via. RFC 3581 §3: rport asks for responses to the port that the request came from; over connections
// they come back anyway.
func viaValue(name, sentBy string, branch []byte) string {
	v := "SIP/2.0/" + name + " " + sentBy + ";branch=" + string(branch)
	if name == transport.UDP.ViaName() {
		v += ";rport"
	}
	return v
}

// connected looks at a connection that was opened instead of using UDP, after the time that it has for that. c.mu is held.
func (c *Client) connected() {
	if c.flow.Established() {
		c.fallback, c.next = nil, 0
		c.arm(c)
		return
	}
	tcp := c.flow
	if c.fallBack(fmt.Errorf("transaction: no connection to %s in time", tcp.Remote())) {
		// What is queued there must not arrive as well, later.
		c.note(action{op: opClose, flow: &tcp})
	}
}

// fallBack sends a large request over UDP after all, because its TCP connection did not come about (RFC 3261 §18.1.1). It
// says whether it did. c.mu is held.
func (c *Client) fallBack(err error) bool {
	if c.state != calling && c.state != trying {
		return false
	}
	c.l.metrics.tooLarge.fellBack.Inc()
	c.l.log.Debug("transaction: large request falls back to UDP", "peer", c.flow.Remote(), "err", err)
	c.unwatch()
	c.l.small.add(c.fallback.flow.Remote())
	c.flow, c.sentBy, c.request = c.fallback.flow, c.fallback.sentBy, c.fallback.data
	c.fallback = nil
	c.interval = c.l.clock.t1
	c.next = c.l.wheel.after(0) + c.interval
	c.arm(c)
	c.note(action{op: opSend, data: c.request})
	return true
}

// datagramOnly remembers addresses that do not take TCP, so that only the first large request to each pays for finding
// out. It is bounded: when it is full, an address is forgotten for each new one.
type datagramOnly struct {
	mu sync.Mutex
	m  map[netip.AddrPort]time.Time // until when
}

func newDatagramOnly() *datagramOnly {
	return &datagramOnly{m: make(map[netip.AddrPort]time.Time)}
}

func (t *datagramOnly) add(a netip.AddrPort) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for old, until := range t.m {
		if len(t.m) < refusedMost && now.Before(until) {
			break
		}
		delete(t.m, old)
	}
	t.m[a] = now.Add(refusedFor)
}

func (t *datagramOnly) has(a netip.AddrPort) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.m[a]
	if ok && !time.Now().Before(until) {
		delete(t.m, a)
		return false
	}
	return ok
}

// SendStateless sends a message without a transaction and forgets it. A request (the ACK for a 2xx) gets our Via on top,
// with a branch that is the same when the same request is sent again (RFC 3261 §16.11); a response goes as it is. A large
// request goes over TCP as in Send, but nobody is there to send it over UDP when that fails.
func (l *Layer) SendStateless(h Hop, d *sip.Draft) error {
	f, err := l.flowOf(&h)
	if err != nil {
		return fmt.Errorf("transaction: sending without a transaction: %w", err)
	}
	data := []byte(nil)
	if d.Status() != 0 {
		data = d.Bytes()
	} else {
		// What distinguishes the request: its Via, or what a request of our own has instead.
		from := d.Get(sip.HVia)
		if from == "" {
			from = d.Get(sip.HFrom) + d.Get(sip.HTo)
		}
		branch := l.sealer.derivedBranch(hashKey(l.keyer, [4]string{from, d.Get(sip.HCallID), d.Get(sip.HCSeq), d.URI()}))
		r := l.render(f, h.Sticky, []byte(branch), &outgoing{draft: d})
		f, data = r.flow, r.data
	}
	if err := l.send(f, data); err != nil {
		l.metrics.transportErrors.stateless.Inc()
		return fmt.Errorf("transaction: sending without a transaction: %w", err)
	}
	return nil
}

// isToken says whether s can stand in a branch.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return s != ""
}
