package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Witness is a pair of users who keep exchanging messages while somebody else misbehaves.
type Witness struct {
	s    *Server
	a, b *UA
	stop chan struct{}
	done chan error
	mu   sync.Mutex // guards said
	said int

	goroutines, memory int64 // of the server before
	slack              int64
}

// Slack is what the server may hold more after an attack than before: goroutines of the connections that are still open,
// and memory that the collector has not given back.
const (
	slackGoroutines = 20
	slackMemory     = 96 << 20
)

// Watch starts a pair, dave and erin, from an address of their own, and notes what the server holds.
func (s *Server) Watch() *Witness {
	s.t.Helper()
	s.AddUsers("dave", "erin")
	w := &Witness{s: s, stop: make(chan struct{}), done: make(chan error, 1)}
	kind := transport.TCP
	if len(s.Config.SIP.Listener) > 0 {
		kind = transport.TLS // TCP is the listener that is told to be different
	}
	w.a, w.b = s.SignedIn("dave", kind, "127.0.0.200"), s.SignedIn("erin", kind, "127.0.0.200")
	if err := w.exchange("before"); err != nil {
		s.t.Fatal(err)
	}
	before := s.Status()
	w.goroutines, w.memory, w.slack = before.Goroutines, before.MemoryBytes, slackMemory
	if raceEnabled {
		w.slack *= 8 // the detector keeps shadows of memory
	}
	go func() {
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-w.stop:
				w.done <- nil
				return
			case <-pace.C:
			}
			if err := w.exchange(fmt.Sprintf("number %d", n)); err != nil {
				w.done <- err
				return
			}
		}
	}()
	return w
}

// exchange has one tell the other something, without ending the test: it runs beside it.
func (w *Witness) exchange(text string) error {
	d := w.a.MessageRequest("erin", text)
	if err := w.a.TryWrite(d.Bytes()); err != nil {
		return err
	}
	m, err := w.b.Find(Patience, func(m *sip.Message) bool { return m.Method() == sip.MESSAGE && m.IsRequest() })
	if err != nil {
		return fmt.Errorf("erin did not get %q: %w", text, err)
	}
	if string(m.Body()) != text {
		return fmt.Errorf("erin got %q, want %q", m.Body(), text)
	}
	if err := w.b.TryWrite(w.b.Response(m, 200).Bytes()); err != nil {
		return err
	}
	m, err = w.a.Find(Patience, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 200 })
	if err != nil {
		return fmt.Errorf("dave got no answer to %q: %w", text, err)
	}
	if m.Status() != 200 && m.Status() != 202 { // 202: erin's answer took longer than 2 s, on a machine under load
		return fmt.Errorf("dave got %s", Line(m))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said++
	return nil
}

// Said is how often they have exchanged something.
func (w *Witness) Said() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said
}

// End stops the pair, and fails the test if they noticed anything, or if the server holds more than before. Sockets of
// the attack must be closed.
func (w *Witness) End() {
	t := w.s.t
	t.Helper()
	said := w.Said()
	Eventually(t, "the pair exchanges messages after the attack", func() bool {
		select {
		case err := <-w.done:
			t.Fatalf("the pair noticed: %v", err)
		default:
		}
		return w.Said() > said+2
	})
	close(w.stop)
	if err := <-w.done; err != nil {
		t.Fatalf("the pair noticed: %v", err)
	}
	var last string
	Eventually(t, "goroutines and memory as before", func() bool {
		now := w.s.Status()
		last = fmt.Sprintf("goroutines %d → %d, memory %d → %d MB", w.goroutines, now.Goroutines, w.memory>>20, now.MemoryBytes>>20)
		return now.Goroutines <= w.goroutines+slackGoroutines && now.MemoryBytes <= w.memory+w.slack
	})
	t.Log(last)
}

// Raw is a request as text, for a test to spoil.
type Raw struct {
	lines []string // first line and headers
	body  string
}

// Raw makes a good request from one user to another, or to a URI. It has all that it needs, with Content-Length last.
func (p *Peer) Raw(method, from, to string) *Raw {
	uri := to
	if !strings.Contains(to, ":") {
		uri = "sip:" + AOR(to)
	}
	return &Raw{lines: []string{
		method + " " + uri + " SIP/2.0",
		"Via: " + p.Via(),
		"Max-Forwards: 70",
		"From: <sip:" + AOR(from) + ">;tag=f" + Unique(),
		"To: <" + uri + ">",
		"Call-ID: raw-" + Unique() + "-" + p.Local.String(),
		"CSeq: 1 " + method,
		"Content-Length: 0",
	}}
}

// Set replaces the line of a header, named as Raw writes it, or adds one before Content-Length.
func (r *Raw) Set(name, value string) *Raw {
	for i, l := range r.lines[1:] {
		if strings.HasPrefix(l, name+":") {
			r.lines[i+1] = name + ": " + value
			return r
		}
	}
	return r.Add(name + ": " + value)
}

// Add adds lines before Content-Length.
func (r *Raw) Add(lines ...string) *Raw {
	r.lines = slices.Insert(r.lines, len(r.lines)-1, lines...)
	return r
}

// First replaces the first line.
func (r *Raw) First(line string) *Raw {
	r.lines[0] = line
	return r
}

// Remove takes a header away.
func (r *Raw) Remove(name string) *Raw {
	r.lines = slices.DeleteFunc(r.lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
	return r
}

// Body sets a body with its headers.
func (r *Raw) Body(contentType, body string) *Raw {
	r.body = body
	return r.Set("Content-Type", contentType).Set("Content-Length", fmt.Sprint(len(body)))
}

// Bytes is the request on the wire.
func (r *Raw) Bytes() []byte {
	return []byte(strings.Join(r.lines, "\r\n") + "\r\n\r\n" + r.body)
}

// Answers sends bytes and wants one of some statuses as the final answer.
func (p *Peer) Answers(t testing.TB, data []byte, want ...int) *sip.Message {
	t.Helper()
	p.Write(data)
	m, err := p.Find(Patience, final)
	if err != nil {
		t.Fatalf("%v: no answer, want %v: %v\n%.300q", p.Kind, want, err, data)
	}
	if !slices.Contains(want, m.Status()) {
		t.Errorf("%v: got %s, want %v\n%.300q", p.Kind, Line(m), want, data)
	}
	return m
}

func final(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 200 }

// Refuses sends bytes to which one of some statuses, nothing, or the end of the connection is right. It returns false when
// the connection has ended.
func (p *Peer) Refuses(t testing.TB, data []byte, want ...int) bool {
	t.Helper()
	if err := p.TryWrite(data); err != nil {
		return false
	}
	id := "probe" + Unique()
	probe := p.Raw(sip.OPTIONS, "probe", "sip:"+Domain).Set("Call-ID", id).Bytes()
	if p.TryWrite(probe) != nil {
		return false
	}
	open := true
	_, err := p.Find(Patience, func(m *sip.Message) bool { return final(m) && m.CallID() == id })
	if err != nil {
		select {
		case <-p.Closed():
			open = false
		default:
			t.Fatalf("%v: neither an answer nor the end: %v\n%.300q", p.Kind, err, data)
		}
	}
	for _, m := range p.Inbox() {
		if final(m) && !slices.Contains(want, m.Status()) {
			t.Errorf("%v: got %s, want %v, nothing or the end\n%.300q", p.Kind, Line(m), want, data)
		}
	}
	p.mu.Lock()
	p.inbox = nil
	p.mu.Unlock()
	return open
}

// kinds are the transports of a server with plain HTTP.
var kinds = []transport.Kind{transport.UDP, transport.TCP, transport.TLS, transport.WS}

// Trusted is a signed-in user agent that can send anything on its connection. Over UDP, credentials are put into what it
// sends.
func (u *UA) Signed(t testing.TB, data []byte) []byte {
	t.Helper()
	if u.Kind != transport.UDP {
		return data
	}
	return u.addCredentials(t, data)
}

// addCredentials puts credentials for the user in From behind the first line of a request.
func (p *Peer) addCredentials(t testing.TB, data []byte) []byte {
	t.Helper()
	line, rest, _ := bytes.Cut(data, []byte("\r\n"))
	words := strings.Fields(string(line))
	if len(words) < 3 || strings.HasPrefix(words[0], "SIP/") {
		return data
	}
	m, _ := sip.Parse(bytes.Clone(data)) // as much as can be read
	who, domain, password := "watson", Domain, Password("watson@"+Domain)
	if from, err := m.From(); err == nil && from.URI.IsSIP() && from.URI.User != "" {
		who, domain = sip.Unescape(from.URI.User), from.URI.Host
		password = Password(from.URI.User + "@" + domain) // accounts are made from the escaped form
	}
	c := p.challenge(domain)
	name := "Proxy-Authorization: "
	if words[0] == sip.REGISTER {
		name = "Authorization: "
	}
	uri := strings.Join(words[1:len(words)-1], " ")
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x00", "\\\x00").Replace(who)
	value := strings.Replace(c.Answer(Qop, who, password, words[0], uri), `username="`+who+`"`, `username="`+quoted+`"`, 1)
	return slices.Concat(line, []byte("\r\n"+name+value+"\r\n"), rest)
}

// challenge asks the server for a nonce.
func (p *Peer) challenge(domain string) *Challenge {
	p.t.Helper()
	id := "probe" + Unique()
	p.Write(p.Raw(sip.OPTIONS, "probe@"+domain, "sip:"+domain).Set("Call-ID", id).Bytes())
	m := p.Wait("a challenge", func(m *sip.Message) bool { return m.Status() == 407 && m.CallID() == id })
	return ParseChallenges(m)[0]
}

// Silence waits a while in which nothing may come, and returns what came. It is for what can only be known by waiting.
func (p *Peer) Silence(wait time.Duration) *sip.Message {
	m, _ := p.Find(wait, func(*sip.Message) bool { return true })
	return m
}

// rawHTTP sends a request to the HTTP door and returns the status of the answer.
func (s *Server) rawHTTP(t testing.TB, text string) int {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs[transport.WS])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(Patience)) // a TCP connection takes deadlines
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// deaf is a TCP connection that nobody reads from.
func (s *Server) deaf(t testing.TB, from string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", s.Addrs[transport.TCP])
	if err != nil {
		t.Fatal(err)
	}
	tc := c.(*net.TCPConn)
	_ = tc.SetReadBuffer(4096) // fills sooner
	return tc
}
