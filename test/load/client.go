package main

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/wire/sip"
)

// A client is one user at one device: it sends requests, answers challenges, repeats over UDP what is not answered, and
// answers what it gets.
type client struct {
	id       int
	user     string
	password string
	domain   string
	aor      string // sip:user@domain
	contact  string // with the angle brackets
	run      *trial
	link     *link
	gone     atomic.Bool
	leaving  atomic.Bool                           // we close it
	on       func(m *sip.Message, again bool) bool // takes requests of the server before the client does; nil: none

	mu      sync.Mutex // guards what follows
	seq     uint32
	pending map[uint32]*request
	repeats map[string]*repeat // 2xx of INVITEs that wait for the ACK, by Call-ID
	acks    map[uint32][]byte  // ACKs of 2xx, for the 2xx again, by CSeq
	login   [2]*challenge      // for REGISTER; for all other methods
	buf     []byte

	// The reader's own.
	msg    sip.Message
	out    []byte
	recent [8]string // branches of requests that came over UDP, to know repetitions
	next   int
}

// request is a client transaction, through challenges.
type request struct {
	method, uri, to, callID string // to is the header's value
	routes                  []string
	contact                 bool
	headers                 string // further rows, each with its line end
	expires                 int    // of a REGISTER
	contentType             string
	body                    []byte
	done                    func(m *sip.Message) // the final response, not to be kept; nil: none came

	seq      uint32
	branch   string
	sent     []byte // UDP, INVITE: for repetition and for the ACK
	tries    int
	deadline time.Duration
	again    time.Duration // UDP: when it is sent again; 0: not
	interval time.Duration
}

// repeat is a response that is sent until its ACK is there (RFC 3261 §13.3.1.4).
type repeat struct {
	bytes    []byte
	again    time.Duration
	interval time.Duration
	deadline time.Duration
}

const (
	t1             = 500 * time.Millisecond // RFC 3261 §17.1.1.1
	t2             = 4 * time.Second
	requestTimeout = 64 * t1
	inviteTimeout  = 64 * time.Second
	maxTries       = 3 // challenges of one request
)

var errGone = errors.New("load: the connection is gone")

// connect opens the client's link and starts its reader.
func (c *client) connect(kind, addr string) error {
	l, err := dial(kind, addr)
	if err != nil {
		return err
	}
	c.attach(l)
	return nil
}

// attach takes a link and starts its reader.
func (c *client) attach(l *link) {
	c.link = l
	switch l.kind {
	case "wss": // RFC 7118 §5
		c.contact = "<sip:" + c.user + "@c" + strconv.Itoa(c.id) + ".invalid;transport=ws>"
	case "udp":
		c.contact = "<sip:" + c.user + "@" + l.local + ">"
	default:
		c.contact = "<sip:" + c.user + "@" + l.local + ";transport=" + l.kind + ">"
	}
	c.run.readers.Go(func() {
		err := l.read(c.take)
		c.gone.Store(true)
		l.close()
		if !c.leaving.Load() {
			c.run.problem("connection lost: %v", err)
		}
		c.abandon()
	})
}

func (c *client) disconnect() {
	c.leaving.Store(true)
	if c.link != nil {
		c.link.close()
	}
}

// abandon ends all that waits for an answer.
func (c *client) abandon() {
	c.mu.Lock()
	var list []*request
	for seq, r := range c.pending {
		delete(c.pending, seq)
		list = append(list, r)
	}
	clear(c.repeats)
	c.mu.Unlock()
	for _, r := range list {
		r.done(nil)
	}
}

// send starts a transaction. done is called once, by another goroutine or before send returns.
func (c *client) send(r *request) {
	timeout := requestTimeout
	if r.method == sip.INVITE {
		timeout = inviteTimeout
	}
	r.deadline = now() + timeout
	if err := c.transmit(r); err != nil {
		r.done(nil)
	}
}

func (c *client) transmit(r *request) error {
	if c.gone.Load() {
		return errGone
	}
	c.mu.Lock()
	c.seq++
	r.seq = c.seq
	r.tries++
	r.branch = "z9hG4bK" + c.run.id + "." + strconv.Itoa(c.id) + "." + strconv.FormatUint(uint64(r.seq), 10)
	c.buf = c.render(c.buf[:0], r)
	udp := c.link.kind == "udp"
	if udp || r.method == sip.INVITE {
		r.sent = bytes.Clone(c.buf)
	}
	if udp {
		r.interval = t1
		r.again = now() + t1
	}
	c.pending[r.seq] = r
	// Written under the lock: the nonce counts go out in order, and so do a lane's messages. The server always reads.
	err := c.link.write(c.buf)
	if err != nil && !udp {
		delete(c.pending, r.seq)
	} else {
		err = nil // a datagram that was not taken is a lost one
	}
	c.mu.Unlock()
	return err
}

// render is called with mu held.
func (c *client) render(b []byte, r *request) []byte {
	b = append(append(append(append(b, r.method...), ' '), r.uri...), " SIP/2.0\r\nVia: SIP/2.0/"...)
	b = append(append(append(b, c.link.via()...), ' '), c.link.local...)
	b = append(append(b, ";branch="...), r.branch...)
	b = append(append(b, ";rport\r\nMax-Forwards: 70\r\nFrom: <"...), c.aor...)
	b = append(append(append(b, ">;tag=t"...), c.user...), "\r\nTo: "...)
	b = append(append(append(b, r.to...), "\r\nCall-ID: "...), r.callID...)
	b = append(strconv.AppendUint(append(b, "\r\nCSeq: "...), uint64(r.seq), 10), ' ')
	b = append(append(b, r.method...), "\r\n"...)
	for _, route := range r.routes {
		b = append(append(append(b, "Route: "...), route...), "\r\n"...)
	}
	if r.contact {
		b = append(append(append(b, "Contact: "...), c.contact...), "\r\n"...)
	}
	login := c.login[1]
	if r.method == sip.REGISTER {
		login = c.login[0]
		b = append(strconv.AppendInt(append(b, "Expires: "...), int64(r.expires), 10), "\r\n"...)
	}
	if login != nil {
		b = login.append(b, r.method, r.uri)
	}
	b = append(b, r.headers...)
	if r.body != nil {
		b = append(append(append(b, "Content-Type: "...), r.contentType...), "\r\n"...)
	}
	b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(r.body)), 10), "\r\n\r\n"...)
	return append(b, r.body...)
}

// take is what the link reads.
func (c *client) take(data []byte) {
	m := &c.msg
	if err := m.Parse(data); err != nil {
		c.run.problem("the server's message cannot be read: %v", err)
		return
	}
	if m.IsRequest() {
		c.answer(m)
		return
	}
	seq, err := m.CSeq()
	if err != nil {
		c.run.problem("the server's response cannot be read: %v", err)
		return
	}
	c.mu.Lock()
	r := c.pending[seq.Seq]
	if r == nil || r.method != seq.Method {
		ack := c.acks[seq.Seq]
		c.mu.Unlock()
		if seq.Method == sip.INVITE && m.Status()/100 == 2 && ack != nil {
			_ = c.link.write(ack) // the reader notices when the link is gone
		}
		return
	}
	status := m.Status()
	if status < 200 {
		if r.method == sip.INVITE {
			r.again = 0 // RFC 3261 §17.1.1.2
		} else if r.again > 0 {
			r.interval = t2 // RFC 3261 §17.1.2.2
		}
		c.mu.Unlock()
		return
	}
	delete(c.pending, seq.Seq)
	again := (status == 401 || status == 407) && r.tries < maxTries && c.login1(m, r)
	c.mu.Unlock()
	if r.method == sip.INVITE && status >= 300 {
		c.ackRefusal(r, m)
	}
	if again {
		c.run.challenges.Add(1)
		if err := c.transmit(r); err != nil {
			r.done(nil)
		}
		return
	}
	r.done(m)
}

// login1 takes the challenge of a response; called with mu held.
func (c *client) login1(m *sip.Message, r *request) bool {
	ch := challenged(m, c.user, c.password)
	if ch == nil {
		return false
	}
	i := 1
	if r.method == sip.REGISTER {
		i = 0
	}
	c.login[i] = ch
	return true
}

// ackRefusal acknowledges a final response that is not 2xx (RFC 3261 §17.1.1.3).
func (c *client) ackRefusal(r *request, m *sip.Message) {
	b := []byte("ACK " + r.uri + " SIP/2.0\r\nVia: SIP/2.0/" + c.link.via() + " " + c.link.local + ";branch=" + r.branch + ";rport\r\nMax-Forwards: 70\r\n" +
		"From: <" + c.aor + ">;tag=t" + c.user + "\r\nTo: " + m.Get(sip.HTo) + "\r\nCall-ID: " + r.callID + "\r\nCSeq: " + strconv.FormatUint(uint64(r.seq), 10) +
		" ACK\r\nContent-Length: 0\r\n\r\n")
	_ = c.link.write(b) // the reader notices when the link is gone
}

// answer answers a request of the server.
func (c *client) answer(m *sip.Message) {
	again := c.link.kind == "udp" && c.repeated(m)
	if c.on != nil && c.on(m, again) {
		return
	}
	switch m.Method() {
	case sip.ACK:
		c.mu.Lock()
		delete(c.repeats, m.CallID())
		c.mu.Unlock()
		return
	case sip.MESSAGE:
		// What follows the receipt is the tool's own work, so the time is taken first.
		if !again {
			c.run.received(m)
		}
		c.reply(m, 200, nil)
	case sip.INVITE:
		if !again {
			c.run.rang(m)
		}
		c.accept(m)
	case sip.BYE:
		if !again {
			c.run.received(m)
		}
		c.reply(m, 200, nil)
	default:
		c.reply(m, 405, nil)
	}
	if again {
		c.run.repeated.Add(1)
	}
}

// repeated tells whether a request is one of the last, again.
func (c *client) repeated(m *sip.Message) bool {
	via, err := m.TopVia()
	if err != nil {
		return false
	}
	key := via.Branch() + m.Method()
	for _, old := range c.recent {
		if old == key {
			return true
		}
	}
	c.recent[c.next] = key // a new string, not a view
	c.next = (c.next + 1) % len(c.recent)
	return false
}

// reply is the reader's.
func (c *client) reply(m *sip.Message, status int, body []byte) []byte {
	b := append(c.out[:0], "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(append(append(b, ' '), sip.StatusText(status)...), "\r\n"...)
	dialog := m.Method() == sip.INVITE
	for _, h := range m.Headers() {
		switch h.ID {
		case sip.HRecordRoute:
			if !dialog {
				continue
			}
		case sip.HVia, sip.HFrom, sip.HTo, sip.HCallID, sip.HCSeq:
		default:
			continue
		}
		b = append(append(append(b, h.ID.String()...), ": "...), h.Value...)
		if h.ID == sip.HTo && m.ToTag() == "" {
			b = append(append(b, ";tag=t"...), c.user...)
		}
		b = append(b, "\r\n"...)
	}
	if dialog {
		b = append(append(append(b, "Contact: "...), c.contact...), "\r\n"...)
	}
	if body != nil {
		b = append(b, "Content-Type: application/sdp\r\n"...)
	}
	b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10), "\r\n\r\n"...)
	b = append(b, body...)
	c.out = b
	_ = c.link.write(b) // the reader notices when the link is gone
	return b
}

// accept answers an INVITE: it rings, and is taken at once.
func (c *client) accept(m *sip.Message) {
	c.reply(m, 180, nil)
	ok := bytes.Clone(c.reply(m, 200, sdp))
	at := now()
	c.mu.Lock()
	c.repeats[strings.Clone(m.CallID())] = &repeat{bytes: ok, interval: t1, again: at + t1, deadline: at + requestTimeout}
	c.mu.Unlock()
}

// tick repeats and ends what is due. It is called about ten times a second.
func (c *client) tick(at time.Duration) {
	var over []*request
	var again [][]byte
	c.mu.Lock()
	for seq, r := range c.pending {
		switch {
		case at >= r.deadline:
			delete(c.pending, seq)
			over = append(over, r)
		case r.again > 0 && at >= r.again:
			again = append(again, r.sent)
			r.interval *= 2
			if r.method != sip.INVITE {
				r.interval = min(r.interval, t2) // RFC 3261 §17.1.2.2
			}
			r.again = at + r.interval
		}
	}
	for id, r := range c.repeats {
		switch {
		case at >= r.deadline:
			delete(c.repeats, id)
			c.run.problem("no ACK came for a 200 of an INVITE")
		case at >= r.again:
			again = append(again, r.bytes)
			r.interval = min(2*r.interval, t2)
			r.again = at + r.interval
		}
	}
	c.mu.Unlock()
	for _, b := range again {
		c.run.resent.Add(1)
		_ = c.link.write(b) // lost, as datagrams are
	}
	for _, r := range over {
		c.run.problem("%s was not answered in time", r.method)
		r.done(nil)
	}
}

// register asks for a binding; expires 0 takes it back.
func (c *client) register(expires int, done func(m *sip.Message)) {
	c.send(&request{method: sip.REGISTER, uri: "sip:" + c.domain, to: "<" + c.aor + ">",
		callID: "r" + strconv.Itoa(c.id) + "." + c.run.id, contact: true, expires: expires, done: done})
}

// forget drops the challenge of REGISTER.
func (c *client) forget() {
	c.mu.Lock()
	c.login[0] = nil
	c.mu.Unlock()
}
