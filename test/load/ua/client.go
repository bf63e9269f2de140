package ua

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

// A Client is one user at one device: it sends requests, answers challenges, repeats over UDP what is not answered, and
// answers what it gets.
type Client struct {
	ID       int // unlike that of the run's other clients
	User     string
	Password string
	Domain   string
	AOR      string // sip:user@domain
	Contact  string // with the angle brackets; Attach makes one
	Run      *Run
	On       func(m *sip.Message, again bool) bool // takes requests of the server before the client does; nil: none

	link    *Link
	gone    atomic.Bool
	leaving atomic.Bool // we close it

	mu      sync.Mutex // guards what follows
	seq     uint32
	pending map[uint32]*Request
	repeats map[string]*repeat // 2xx of INVITEs that wait for the ACK, by Call-ID
	acks    map[uint32][]byte  // ACKs of 2xx, for the 2xx again, by CSeq
	login   [2]*challenge      // for REGISTER; for all other methods
	waiting atomic.Int32       // requests and responses of which Tick has to think

	// The reader's own.
	in     *reader
	recent [8]string // branches of requests that came over UDP, to know repetitions
	next   int
}

// reader is what one goroutine needs that reads for a client, or for all clients of a socket.
type reader struct {
	msg sip.Message
	out []byte
}

// A Request is a client transaction, through challenges.
type Request struct {
	Method, URI, To, CallID string // To is the header's value
	Routes                  []string
	Contact                 bool
	Headers                 string // further rows, each with its line end
	Expires                 int    // of a REGISTER
	ContentType             string
	Body                    []byte
	Patience                time.Duration        // how long the final response may take; 0: 32 s, 64 s for INVITE
	Done                    func(m *sip.Message) // the final response, not to be kept; nil: none came

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

// New makes a client that is not connected. Its User, Password, Domain and AOR are sip:user@domain's.
func New(run *Run, id int, user, password, domain string) *Client {
	return &Client{
		ID: id, User: user, Password: password, Domain: domain, AOR: "sip:" + user + "@" + domain, Run: run,
		pending: map[uint32]*Request{}, repeats: map[string]*repeat{}, acks: map[uint32][]byte{},
	}
}

const (
	t1             = 500 * time.Millisecond // RFC 3261 §17.1.1.1
	t2             = 4 * time.Second
	requestTimeout = 64 * t1
	inviteTimeout  = 64 * time.Second
	maxTries       = 3 // challenges of one request
)

var errGone = errors.New("ua: the connection is gone")

// Connect opens the client's link and starts its reader.
func (c *Client) Connect(kind, addr string) error {
	l, err := Dial(kind, addr)
	if err != nil {
		return err
	}
	c.Attach(l)
	return nil
}

// Attach takes a link and starts its reader.
func (c *Client) Attach(l *Link) {
	c.link, c.in = l, &reader{}
	switch l.Kind {
	case "wss": // RFC 7118 §5
		c.Contact = "<sip:" + c.User + "@c" + strconv.Itoa(c.ID) + ".invalid;transport=ws>"
	case "udp":
		c.Contact = "<sip:" + c.User + "@" + l.Local + ">"
	default:
		c.Contact = "<sip:" + c.User + "@" + l.Local + ";transport=" + l.Kind + ">"
	}
	c.Run.Readers.Go(func() {
		err := l.Read(c.take)
		c.gone.Store(true)
		l.Close()
		if !c.leaving.Load() {
			c.Run.Problem("connection lost: %v", err)
		}
		c.abandon()
	})
}

// Disconnect closes the link; that it ends is no problem then.
func (c *Client) Disconnect() {
	c.leaving.Store(true)
	if c.link != nil {
		c.link.Close()
	}
}

// Leave tells that the connection is going to end, so that it is no problem when it does.
func (c *Client) Leave() { c.leaving.Store(true) }

// Gone tells that the connection has ended.
func (c *Client) Gone() bool { return c.gone.Load() }

// Link is the client's link, nil before it has one.
func (c *Client) Link() *Link { return c.link }

// abandon ends all that waits for an answer.
func (c *Client) abandon() {
	c.mu.Lock()
	var list []*Request
	for seq, r := range c.pending {
		delete(c.pending, seq)
		list = append(list, r)
	}
	clear(c.repeats)
	c.count()
	c.mu.Unlock()
	for _, r := range list {
		r.Done(nil)
	}
}

// Send starts a transaction. Done is called once, by another goroutine or before Send returns.
func (c *Client) Send(r *Request) {
	timeout := r.Patience
	if timeout == 0 {
		timeout = requestTimeout
		if r.Method == sip.INVITE {
			timeout = inviteTimeout
		}
	}
	r.deadline = Now() + timeout
	if err := c.transmit(r); err != nil {
		r.Done(nil)
	}
}

func (c *Client) transmit(r *Request) error {
	if c.gone.Load() {
		return errGone
	}
	c.mu.Lock()
	c.seq++
	r.seq = c.seq
	r.tries++
	r.branch = "z9hG4bK" + c.Run.ID + "." + strconv.Itoa(c.ID) + "." + strconv.FormatUint(uint64(r.seq), 10)
	p := frames.Get().(*[]byte)
	b := c.render((*p)[:0], r)
	udp := c.link.Kind == "udp"
	if udp || r.Method == sip.INVITE {
		r.sent = bytes.Clone(b)
	}
	if udp {
		r.interval = t1
		r.again = Now() + t1
	}
	c.pending[r.seq] = r
	c.count()
	// Written under the lock: the nonce counts go out in order, and so do a lane's messages. The server always reads.
	err := c.link.Write(b)
	*p = b
	frames.Put(p)
	if err != nil && !udp {
		delete(c.pending, r.seq)
		c.count()
	} else {
		err = nil // a datagram that was not taken is a lost one
	}
	c.mu.Unlock()
	return err
}

// count tells Tick, without a lock, whether there is anything to do; it is called with mu held.
func (c *Client) count() { c.waiting.Store(int32(len(c.pending) + len(c.repeats))) }

// render is called with mu held.
func (c *Client) render(b []byte, r *Request) []byte {
	b = append(append(append(append(b, r.Method...), ' '), r.URI...), " SIP/2.0\r\nVia: SIP/2.0/"...)
	b = append(append(append(b, c.link.via()...), ' '), c.link.Local...)
	b = append(append(b, ";branch="...), r.branch...)
	b = append(append(b, ";rport\r\nMax-Forwards: 70\r\nFrom: <"...), c.AOR...)
	b = append(append(append(b, ">;tag=t"...), c.User...), "\r\nTo: "...)
	b = append(append(append(b, r.To...), "\r\nCall-ID: "...), r.CallID...)
	b = append(strconv.AppendUint(append(b, "\r\nCSeq: "...), uint64(r.seq), 10), ' ')
	b = append(append(b, r.Method...), "\r\n"...)
	for _, route := range r.Routes {
		b = append(append(append(b, "Route: "...), route...), "\r\n"...)
	}
	if r.Contact {
		b = append(append(append(b, "Contact: "...), c.Contact...), "\r\n"...)
	}
	login := c.login[1]
	if r.Method == sip.REGISTER {
		login = c.login[0]
		b = append(strconv.AppendInt(append(b, "Expires: "...), int64(r.Expires), 10), "\r\n"...)
	}
	if login != nil {
		b = login.append(b, r.Method, r.URI)
	}
	b = append(b, r.Headers...)
	if r.Body != nil {
		b = append(append(append(b, "Content-Type: "...), r.ContentType...), "\r\n"...)
	}
	b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(r.Body)), 10), "\r\n\r\n"...)
	return append(b, r.Body...)
}

// take is what the link reads.
func (c *Client) take(data []byte) {
	m := &c.in.msg
	if err := m.ParseLimits(data, large); err != nil {
		c.Run.Problem("the server's message cannot be read: %v", err)
		return
	}
	c.takeMessage(m)
}

func (c *Client) takeMessage(m *sip.Message) {
	if m.IsRequest() {
		c.answer(m)
		return
	}
	seq, err := m.CSeq()
	if err != nil {
		c.Run.Problem("the server's response cannot be read: %v", err)
		return
	}
	c.mu.Lock()
	r := c.pending[seq.Seq]
	if r == nil || r.Method != seq.Method {
		ack := c.acks[seq.Seq]
		c.mu.Unlock()
		if seq.Method == sip.INVITE && m.Status()/100 == 2 && ack != nil {
			_ = c.link.Write(ack) // the reader notices when the link is gone
		}
		return
	}
	status := m.Status()
	if status < 200 {
		if r.Method == sip.INVITE {
			r.again = 0 // RFC 3261 §17.1.1.2
		} else if r.again > 0 {
			r.interval = t2 // RFC 3261 §17.1.2.2
		}
		c.mu.Unlock()
		return
	}
	delete(c.pending, seq.Seq)
	c.count()
	again := (status == 401 || status == 407) && r.tries < maxTries && c.login1(m, r)
	c.mu.Unlock()
	if r.Method == sip.INVITE && status >= 300 {
		c.ackRefusal(r, m)
	}
	if again {
		c.Run.Challenges.Add(1)
		if err := c.transmit(r); err != nil {
			r.Done(nil)
		}
		return
	}
	r.Done(m)
}

// login1 takes the challenge of a response; called with mu held.
func (c *Client) login1(m *sip.Message, r *Request) bool {
	ch := challenged(m, c.User, c.Password)
	if ch == nil {
		return false
	}
	i := 1
	if r.Method == sip.REGISTER {
		i = 0
	}
	c.login[i] = ch
	return true
}

// ackRefusal acknowledges a final response that is not 2xx (RFC 3261 §17.1.1.3).
func (c *Client) ackRefusal(r *Request, m *sip.Message) {
	b := []byte("ACK " + r.URI + " SIP/2.0\r\nVia: SIP/2.0/" + c.link.via() + " " + c.link.Local + ";branch=" + r.branch + ";rport\r\nMax-Forwards: 70\r\n" +
		"From: <" + c.AOR + ">;tag=t" + c.User + "\r\nTo: " + m.Get(sip.HTo) + "\r\nCall-ID: " + r.CallID + "\r\nCSeq: " + strconv.FormatUint(uint64(r.seq), 10) +
		" ACK\r\nContent-Length: 0\r\n\r\n")
	_ = c.link.Write(b) // the reader notices when the link is gone
}

// answer answers a request of the server.
func (c *Client) answer(m *sip.Message) {
	again := c.link.Kind == "udp" && c.repeated(m)
	if c.On != nil && c.On(m, again) {
		return
	}
	switch m.Method() {
	case sip.ACK:
		c.mu.Lock()
		delete(c.repeats, m.CallID())
		c.count()
		c.mu.Unlock()
		return
	case sip.MESSAGE:
		// What follows the receipt is the tool's own work, so the time is taken first.
		if !again {
			c.Run.Received(m)
		}
		c.Reply(m, 200, nil)
	case sip.INVITE:
		if !again {
			c.Run.Rang(m)
		}
		c.Reply(m, 180, nil)
		c.Accept(m)
	case sip.BYE:
		if !again {
			c.Run.Received(m)
		}
		c.Reply(m, 200, nil)
	default:
		c.Reply(m, 405, nil)
	}
	if again {
		c.Run.Repeated.Add(1)
	}
}

// repeated tells whether a request is one of the last, again.
func (c *Client) repeated(m *sip.Message) bool {
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

// Reply answers a request of the server and returns the response, which is valid until the next. It is the reader's: see Later.
func (c *Client) Reply(m *sip.Message, status int, body []byte) []byte {
	b := append(c.in.out[:0], "SIP/2.0 "...)
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
			b = append(append(b, ";tag=t"...), c.User...)
		}
		b = append(b, "\r\n"...)
	}
	if dialog {
		b = append(append(append(b, "Contact: "...), c.Contact...), "\r\n"...)
		if status/100 == 2 && m.HasToken(sip.HSupported, "timer") && m.Has(sip.HSessionExpires) { // RFC 4028 §9: the caller refreshes
			interval, _, _ := strings.Cut(m.Get(sip.HSessionExpires), ";")
			b = append(append(append(b, "Require: timer\r\nSession-Expires: "...), interval...), ";refresher=uac\r\n"...)
		}
	}
	if body != nil {
		b = append(b, "Content-Type: application/SDP\r\n"...)
	}
	b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10), "\r\n\r\n"...)
	b = append(b, body...)
	c.in.out = b
	_ = c.link.Write(b) // the reader notices when the link is gone
	return b
}

// Accept answers an INVITE with a 200, which is sent until its ACK is there. It is the reader's: see Later.
func (c *Client) Accept(m *sip.Message) {
	ok := bytes.Clone(c.Reply(m, 200, SDP))
	c.repeat(m, ok)
}

func (c *Client) repeat(m *sip.Message, ok []byte) {
	at := Now()
	c.mu.Lock()
	c.repeats[strings.Clone(m.CallID())] = &repeat{bytes: ok, interval: t1, again: at + t1, deadline: at + requestTimeout}
	c.count()
	c.mu.Unlock()
}

// Later answers a request that was kept, from another goroutine than the reader's. m is the caller's own copy.
func (c *Client) Later(m *sip.Message, status int, body []byte) {
	w := &Client{link: c.link, User: c.User, Contact: c.Contact, in: &reader{}}
	b := w.Reply(m, status, body)
	if m.Method() == sip.INVITE && status/100 == 2 {
		c.repeat(m, b)
	}
}

// Tick repeats and ends what is due. It is called about ten times a second.
func (c *Client) Tick(at time.Duration) {
	if c.waiting.Load() == 0 {
		return
	}
	var over []*Request
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
			if r.Method != sip.INVITE {
				r.interval = min(r.interval, t2) // RFC 3261 §17.1.2.2
			}
			r.again = at + r.interval
		}
	}
	for id, r := range c.repeats {
		switch {
		case at >= r.deadline:
			delete(c.repeats, id)
			c.Run.Problem("no ACK came for a 200 of an INVITE")
		case at >= r.again:
			again = append(again, r.bytes)
			r.interval = min(2*r.interval, t2)
			r.again = at + r.interval
		}
	}
	c.count()
	c.mu.Unlock()
	for _, b := range again {
		c.Run.Resent.Add(1)
		_ = c.link.Write(b) // lost, as datagrams are
	}
	for _, r := range over {
		c.Run.Problem("%s was not answered in time", r.Method)
		r.Done(nil)
	}
}

// Register asks for a binding; expires 0 takes it back.
func (c *Client) Register(expires int, done func(m *sip.Message)) {
	c.Send(&Request{Method: sip.REGISTER, URI: "sip:" + c.Domain, To: "<" + c.AOR + ">",
		CallID: "r" + strconv.Itoa(c.ID) + "." + c.Run.ID, Contact: true, Expires: expires, Done: done})
}

// Forget drops the challenge of REGISTER.
func (c *Client) Forget() {
	c.mu.Lock()
	c.login[0] = nil
	c.mu.Unlock()
}

// Acknowledge sends the ACK for a 2xx and returns the BYE of the same dialog, not yet sent (RFC 3261 §12.1.2, §13.2.2.4).
func (c *Client) Acknowledge(r *Request, m *sip.Message) *Request {
	var routes []string
	for v := range m.Values(sip.HRecordRoute) {
		routes = append([]string{strings.Clone(v)}, routes...)
	}
	target := r.URI
	if list, _, err := m.Contacts(); err == nil && len(list) > 0 {
		target = list[0].URI.String()
	}
	in := &Request{Method: sip.ACK, URI: target, To: strings.Clone(m.Get(sip.HTo)), CallID: r.CallID, Routes: routes, seq: r.seq}
	in.branch = "z9hG4bK" + c.Run.ID + "." + strconv.Itoa(c.ID) + ".a" + strconv.FormatUint(uint64(r.seq), 10)
	c.mu.Lock()
	ack := c.render(nil, in)
	c.acks[r.seq] = ack
	c.mu.Unlock()
	_ = c.link.Write(ack) // the reader notices when the link is gone
	return &Request{Method: sip.BYE, URI: target, To: in.To, CallID: r.CallID, Routes: routes}
}

// Settled forgets the ACK of an INVITE: its 2xx does not come again.
func (c *Client) Settled(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.acks, r.seq)
}

// Cancel ends an INVITE that has no final response yet. It must have had a provisional one (RFC 3261 §9.1).
func (c *Client) Cancel(r *Request) {
	c.mu.Lock()
	if c.pending[r.seq] != r {
		c.mu.Unlock()
		return
	}
	b := []byte("CANCEL " + r.URI + " SIP/2.0\r\nVia: SIP/2.0/" + c.link.via() + " " + c.link.Local + ";branch=" + r.branch + ";rport\r\nMax-Forwards: 70\r\n" +
		"From: <" + c.AOR + ">;tag=t" + c.User + "\r\nTo: " + r.To + "\r\nCall-ID: " + r.CallID + "\r\nCSeq: " + strconv.FormatUint(uint64(r.seq), 10) +
		" CANCEL\r\nContent-Length: 0\r\n\r\n")
	c.mu.Unlock()
	_ = c.link.Write(b) // the reader notices when the link is gone
}
