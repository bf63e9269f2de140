package test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// torture has a row for each of the 50 messages of RFC 4475: what the running server answers to a stranger and to
// somebody who has signed in as the one in From, over UDP and over TCP.
//
// A status is the answer. "forward" means that the request arrived at the device of the user in the Request-URI, and that
// the device's answer came back: 200 to OPTIONS and MESSAGE, 486 to INVITE, 406 to an INVITE whose Accept has no
// application/sdp. "drop" means that nothing comes, and that the next request on the same socket is answered.
// "close" means that the connection is closed, after an answer or without one.
//
// tcp is set where TCP differs, for strangers and others alike.
//
// How the messages are changed before they are sent:
//   - over UDP, rport is added to the top Via (RFC 3581): the tests have no socket at the port that sent-by names, and
//     without rport the answer goes there;
//   - signed in, credentials for the user in From are put behind the first line: a nonce is asked for on the same socket
//     before. All domains in Request-URIs and Froms are domains of the server, and all who are in a From have accounts,
//     so nothing else needs to be rewritten;
//   - swap replaces what it says, for the reason given there.
var torture = []struct {
	file, section   string
	stranger, known string
	tcp             string
	swap            []string // old, new
	check           func(t *testing.T, answer *sip.Message)
}{
	{file: "wsinv", section: "3.1.1.1", stranger: "407", known: "forward"},
	{file: "intmeth", section: "3.1.1.2", stranger: "501", known: "501", check: allows},
	{file: "esc01", section: "3.1.1.3", stranger: "407", known: "forward"},
	{file: "escnull", section: "3.1.1.4", stranger: "401", known: "200", check: contacts("<sip:%00@host5.example.com>", "<sip:%00%00@host5.example.com>")},
	{file: "esc02", section: "3.1.1.5", stranger: "501", known: "501", check: allows},
	{file: "lwsdisp", section: "3.1.1.6", stranger: "407", known: "forward"},
	{file: "longreq", section: "3.1.1.7", stranger: "407", known: "forward"},
	// On a stream, what follows is a request of its own; over UDP it is noise.
	{file: "dblreq", section: "3.1.1.8", stranger: "401", known: "200", check: contacts("<sip:j.user@host.example.com>")},
	// No user is called "user;par=u@example.net"; one is called "user".
	{file: "semiuri", section: "3.1.1.9", stranger: "407", known: "404"},
	{file: "transports", section: "3.1.1.10", stranger: "407", known: "forward"},
	// Its Route names the proxy that it is sent to, so it must name ours.
	{file: "mpart01", section: "3.1.1.11", stranger: "407", known: "forward", swap: []string{"Route: <sip:127.0.0.1:5080>", "Route: <sip:{server}>"}},
	{file: "unreason", section: "3.1.1.12", stranger: "drop", known: "drop"},
	{file: "noreason", section: "3.1.1.13", stranger: "drop", known: "drop"},
	{file: "badinv01", section: "3.1.2.1", stranger: "400", known: "400"},
	{file: "clerr", section: "3.1.2.2", stranger: "400", known: "400", tcp: "close"},
	{file: "ncl", section: "3.1.2.3", stranger: "400", known: "400", tcp: "400 close"},
	{file: "scalar02", section: "3.1.2.4", stranger: "400", known: "400"},
	{file: "scalarlg", section: "3.1.2.5", stranger: "drop", known: "drop"},
	{file: "quotbal", section: "3.1.2.6", stranger: "400", known: "400"},
	{file: "ltgtruri", section: "3.1.2.7", stranger: "400", known: "400"},
	{file: "lwsruri", section: "3.1.2.8", stranger: "400", known: "400"},
	{file: "lwsstart", section: "3.1.2.9", stranger: "400", known: "400"},
	{file: "trws", section: "3.1.2.10", stranger: "400", known: "400"},
	{file: "escruri", section: "3.1.2.11", stranger: "400", known: "400"},
	// "An element shouldn't" refuse a Date that it does not need.
	{file: "baddate", section: "3.1.2.12", stranger: "407", known: "forward"},
	{file: "regbadct", section: "3.1.2.13", stranger: "400", known: "400"},
	{file: "badaspec", section: "3.1.2.14", stranger: "400", known: "400"},
	// The archive's file lacks the empty line at the end, which the text has.
	{file: "baddn", section: "3.1.2.15", stranger: "400", known: "400", swap: []string{"l: 0\r\n", "l: 0\r\n\r\n"}},
	{file: "badvers", section: "3.1.2.16", stranger: "505", known: "505"},
	{file: "mismatch01", section: "3.1.2.17", stranger: "400", known: "400"},
	{file: "mismatch02", section: "3.1.2.18", stranger: "501", known: "501"},
	{file: "bigcode", section: "3.1.2.19", stranger: "drop", known: "drop"},
	{file: "badbranch", section: "3.2.1", stranger: "400", known: "400"},
	{file: "insuf", section: "3.3.1", stranger: "400", known: "400"},
	{file: "unkscm", section: "3.3.2", stranger: "416", known: "416"},
	{file: "novelsc", section: "3.3.3", stranger: "416", known: "416"},
	// Nobody can sign in as <http://www.example.com>; the credentials are those of another user.
	{file: "unksm2", section: "3.3.4", stranger: "401", known: "400"},
	{file: "bext01", section: "3.3.5", stranger: "420", known: "420", check: header(sip.HUnsupported, "noProxiesSupportThis, norDoAnyProxiesSupportThis")},
	// As the proxy of a server that records what is said, we do not carry what we cannot read.
	{file: "invut", section: "3.3.6", stranger: "407", known: "415", check: header(sip.HAccept, "application/sdp, multipart/mixed, multipart/alternative, multipart/related")},
	{file: "regaut01", section: "3.3.7", stranger: "401", known: "200"},
	{file: "multi01", section: "3.3.8", stranger: "400", known: "400"},
	{file: "mcl01", section: "3.3.9", stranger: "400", known: "400", tcp: "400 close"},
	{file: "bcast", section: "3.3.10", stranger: "drop", known: "drop"},
	{file: "zeromf", section: "3.3.11", stranger: "483", known: "483"},
	{file: "cparam01", section: "3.3.12", stranger: "401", known: "200", check: contacts("<sip:+19725552222@gw1.example.net>;unknownparam")},
	{file: "cparam02", section: "3.3.13", stranger: "401", known: "200", check: contacts("<sip:+19725552222@gw1.example.net;unknownparam>")},
	// The callee is the recipient that §3.3.15 speaks of.
	{file: "sdp01", section: "3.3.15", stranger: "407", known: "forward"},
	// Without Content-Length on a stream nobody knows where it ends (RFC 3261 §18.3).
	{file: "inv2543", section: "3.4.1", stranger: "407", known: "forward", tcp: "400 close"},
	// Here at the end, because it adds a contact to the callee of others. Over UDP it has branch, sent-by and method of escnull, and would be a retransmission of it (RFC 3261 §17.2.3).
	{file: "regescrt", section: "3.3.14", stranger: "401", known: "200", check: contacts("<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
		swap: []string{"branch=z9hG4bKkdjuw", "branch=z9hG4bKkdjuwescrt"}},
	// In the archive only: a line of text.
	{file: "test", section: "appendix", stranger: "drop", known: "drop", tcp: "close"},
}

// tortured are the people in the Froms, and callees those in the Request-URIs, whose devices answer.
var (
	tortured = []string{"jdrosen@example.com", "mundane@example.com", "I%20have%20spaces@example.net", "null-%00-null@example.com",
		"resource@example.com", "caller@example.com", strings.Repeat("amazinglylongcallername", 5) + "@example.net", "j.user@example.com",
		"caller@example.net", "caller@example.org", "fluffy@example.com", "local-resource@example.com", "a.g.bell@example.com",
		"other@example.net", "watson@example.com", "+13035551111@ift.client.example.net"}
	callees = []string{"vivekg@chair-dnrc.example.com", "sips%3Auser%40example.com@example.net", "user@example.com", "kumiko@example.org",
		"UserB@example.com"}
)

func allows(t *testing.T, m *sip.Message) {
	t.Helper()
	if !m.HasToken(sip.HAllow, sip.MESSAGE) {
		t.Errorf("Allow is %q", m.Get(sip.HAllow))
	}
}

func contacts(want ...string) func(*testing.T, *sip.Message) {
	return func(t *testing.T, m *sip.Message) {
		t.Helper()
		var got []string
		for v := range m.Values(sip.HContact) {
			// The callee's own device is there too.
			if v, _, _ = strings.Cut(v, ";expires="); !strings.Contains(v, "@127.0.0.1:") {
				got = append(got, v)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("Contacts %q, want %q", got, want)
		}
	}
}

func header(id sip.HeaderID, want string) func(*testing.T, *sip.Message) {
	return func(t *testing.T, m *sip.Message) {
		t.Helper()
		if got := m.Get(id); got != want {
			t.Errorf("%v is %q, want %q", id, got, want)
		}
	}
}

func TestTorture(t *testing.T) {
	t.Parallel()
	if len(torture) != 50 {
		t.Fatalf("%d rows, want 50", len(torture))
	}
	for _, kind := range []transport.Kind{transport.UDP, transport.TCP} {
		for _, known := range []bool{false, true} {
			name := kind.String() + map[bool]string{false: "/stranger", true: "/known"}[known]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := Start(t, func(c *config.Config) {
					c.Domains = []string{"example.com", "example.net", "example.org", "company.com", "chair-dnrc.example.com",
						"services.example.com", "registrar.example.com", "ift.client.example.net"}
					c.Limits.MessageTimeout = time.Second
				})
				s.AddUsers(append(slices.Clone(tortured), callees...)...)
				arrived := s.endpoints(t, callees)
				for _, row := range torture {
					t.Run(row.file, func(t *testing.T) {
						want := row.stranger
						if known {
							want = row.known
						}
						if kind == transport.TCP && row.tcp != "" {
							want = row.tcp
						}
						data := tortureMessage(t, row.file, row.swap, s.Addrs[kind])
						p := s.Dial(kind).For(t)
						if kind == transport.UDP {
							data = addRPort(data)
						}
						if known {
							data = p.addCredentials(t, data)
						}
						got := p.tortureAnswer(t, data, want, arrived)
						if row.check != nil && got != nil && strconv.Itoa(got.Status()) == row.known {
							row.check(t, got)
						}
					})
				}
				// Nobody else noticed.
				exchange(t, s.SignedIn("alice", kind), s.SignedIn("bob", kind), "after all that")
			})
		}
	}
}

func tortureMessage(t *testing.T, file string, swap []string, server string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "wire", "sip", "testdata", "rfc4475", file+".dat"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(swap); i += 2 {
		if !bytes.Contains(data, []byte(swap[i])) {
			t.Fatalf("there is no %q", swap[i])
		}
		data = bytes.Replace(data, []byte(swap[i]), []byte(strings.ReplaceAll(swap[i+1], "{server}", server)), 1)
	}
	return data
}

// addRPort puts rport in front of the first parameter of the top Via.
func addRPort(data []byte) []byte {
	rest, start := data, 0
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return data
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		if n := strings.ToLower(strings.TrimSpace(string(name))); n == "via" || n == "v" {
			break
		}
		start += len(line) + 1
		rest = after
	}
	// The value may be folded.
	end := start
	for {
		i := bytes.Index(data[end:], []byte("\r\n"))
		if i < 0 {
			return data
		}
		if end += i + 2; end >= len(data) || data[end] != ' ' && data[end] != '\t' {
			break
		}
	}
	value := data[start : end-2]
	if bytes.Contains(value, []byte("rport")) {
		return data
	}
	at := bytes.IndexByte(value, ';')
	if at < 0 {
		at = len(value)
	}
	return slices.Concat(data[:start+at], []byte(";rport"), data[start+at:])
}

// tortureAnswer sends data and compares what happens with want. It returns the answer, if one came.
func (p *Peer) tortureAnswer(t *testing.T, data []byte, want string, arrived *seen) *sip.Message {
	t.Helper()
	before := arrived.count()
	p.Write(data)
	if want == "close" || want == "400 close" {
		var answer *sip.Message
		if want == "400 close" {
			if answer = p.Next(); answer.Status() != 400 {
				t.Errorf("got %s, want 400", Line(answer))
			}
		}
		select {
		case <-p.Closed():
		case <-time.After(Patience):
			t.Error("the connection is still open")
		}
		return answer
	}
	if want == "drop" {
		p.probe(t)
		for _, m := range p.Inbox() {
			t.Errorf("got %s, want nothing", Line(m))
		}
		return nil
	}
	req, _ := sip.Parse(bytes.Clone(data)) // as much as can be read
	answer := p.Wait("the answer", func(m *sip.Message) bool {
		return !m.IsRequest() && m.Status() >= 200 && m.CallID() == req.CallID() // dblreq holds a second request, answered in its own time
	})
	if want != "forward" {
		if got := strconv.Itoa(answer.Status()); got != want {
			t.Errorf("got %s, want %s", Line(answer), want)
		}
		if got := arrived.count(); got != before {
			t.Errorf("it went on to somebody: %s", arrived.last())
		}
		return answer
	}
	status := map[string]int{sip.INVITE: 486}[req.Method()]
	if req.Has(sip.HAccept) && req.Method() == sip.INVITE && !req.HasToken(sip.HAccept, "application/sdp") {
		status = 406
	}
	if status == 0 {
		status = 200
	}
	if answer.Status() != status {
		t.Errorf("got %s, want the device's %d", Line(answer), status)
	}
	if arrived.count() == before {
		t.Error("it did not arrive at the device")
	}
	return answer
}

// probe sends an OPTIONS and waits for its answer, any: the socket still works.
func (p *Peer) probe(t *testing.T) {
	t.Helper()
	id := "probe" + Unique()
	p.Write([]byte("OPTIONS sip:" + Domain + " SIP/2.0\r\nVia: " + p.Via() + "\r\nMax-Forwards: 70\r\nFrom: <sip:probe@" + Domain + ">;tag=1\r\nTo: <sip:" + Domain +
		">\r\nCall-ID: " + id + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"))
	p.Wait("the answer to OPTIONS", func(m *sip.Message) bool { return m.CallID() == id && m.Status() >= 200 })
}

// seen is what came to the endpoints.
type seen struct {
	mu   sync.Mutex // guards list
	list []string
}

func (s *seen) add(m *sip.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, Line(m))
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

func (s *seen) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[len(s.list)-1]
}

// endpoints signs users in, each on a device that answers everything as an endpoint that is busy.
func (s *Server) endpoints(t *testing.T, users []string) *seen {
	t.Helper()
	all := &seen{}
	for _, user := range users {
		u := s.SignedIn(user, transport.TCP)
		done := make(chan struct{})
		t.Cleanup(func() {
			u.Close()
			<-done
		})
		go func() {
			defer close(done)
			for {
				m, err := u.Find(time.Hour, func(m *sip.Message) bool { return m.IsRequest() })
				if err != nil {
					return
				}
				if m.Method() == sip.ACK {
					continue
				}
				all.add(m)
				status := 200
				if m.Method() == sip.INVITE {
					status = 486
					if m.Has(sip.HAccept) && !m.HasToken(sip.HAccept, "application/sdp") {
						status = 406
					}
				}
				if u.TryWrite(u.Response(m, status).Bytes()) != nil {
					return
				}
			}
		}()
	}
	return all
}

// exchange has two users tell each other something.
func exchange(t testing.TB, a, b *UA, text string) {
	t.Helper()
	for _, x := range [][2]*UA{{a, b}, {b, a}} {
		d := x[0].MessageRequest(x[1].User, text)
		began := time.Now()
		x[0].Write(d.Bytes())
		if x[0].Kind == transport.UDP {
			d, _ = x[0].Answered(d, x[0].Final(d))
			x[0].Write(d.Bytes())
		}
		x[1].Hears(text)
		if m := x[0].Final(d); !Taken(m, began) {
			t.Fatalf("%s to %s: %s", x[0].Name, x[1].Name, Line(m))
		}
	}
}
