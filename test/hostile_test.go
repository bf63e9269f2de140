package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// attack runs rows of hostile.md against a server in a process of its own, while a pair of users goes on talking and
// afterwards finds the server as it was.
func attack(t *testing.T, test func(t *testing.T, s *Server), edits ...Edit) {
	t.Helper()
	t.Parallel()
	s := StartProcess(t, edits...)
	w := s.Watch()
	t.Run("attack", func(t *testing.T) { test(t, s) })
	w.End()
}

// onKinds runs a test on every transport, with a socket of its own from an address of its own.
func onKinds(t *testing.T, s *Server, test func(t *testing.T, p *Peer)) {
	t.Helper()
	for i, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			p := s.Dial(kind, From(fmt.Sprintf("127.0.0.%d", 10+i))).For(t)
			defer p.Close()
			test(t, p)
		})
	}
}

// bad is a request with one thing wrong.
type bad struct {
	name  string
	spoil func(r *Raw) *Raw
	want  []int // statuses that are right; 0: dropping it or ending the connection is right, too
}

// refuseAll sends each of the requests on every transport, on a socket of its own.
func refuseAll(t *testing.T, s *Server, method string, rows []bad) {
	t.Helper()
	onKinds(t, s, func(t *testing.T, first *Peer) {
		for _, row := range rows {
			p := s.Dial(first.Kind, From(first.Local.Addr().String())).For(t)
			data := row.spoil(p.Raw(method, "alice", "bob")).Bytes()
			t.Run(row.name, func(t *testing.T) {
				p.For(t)
				if row.want[len(row.want)-1] == 0 {
					p.Refuses(t, data, row.want...)
				} else {
					p.Answers(t, data, row.want...)
				}
			})
			p.Close()
		}
	})
}

func set(name, value string) func(*Raw) *Raw {
	return func(r *Raw) *Raw { return r.Set(name, value) }
}

func add(lines ...string) func(*Raw) *Raw {
	return func(r *Raw) *Raw { return r.Add(lines...) }
}

// Rows 1, 2, 5 and 19, and their neighbours: headers that are there twice, empty, or nonsense.
func TestHostileHeaders(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		digits := strings.Repeat("9", 5000)
		params := strings.Repeat(";p=v", 500)
		refuseAll(t, s, sip.MESSAGE, []bad{
			{"1: two To, one with an empty tag", add("To: <sip:bob@example.com>;tag="), []int{400}},
			{"1: two To, one compact", add("t: <sip:bob@example.com>"), []int{400}},
			{"1: empty tag", set("To", "<sip:bob@example.com>;tag="), []int{400}},
			{"1: empty tag in From", set("From", "<sip:alice@example.com>;tag="), []int{400}},
			{"1: two tags", set("From", "<sip:alice@example.com>;tag=a;tag=b"), []int{400}},
			{"1: two From", add("f: <sip:alice@example.com>;tag=x"), []int{400}},
			{"1: two in one To", set("To", "<sip:bob@example.com>, <sip:carol@example.com>"), []int{400}},
			{"1: two Call-ID", add("i: another"), []int{400}},
			{"1: two CSeq", add("CSeq: 2 MESSAGE"), []int{400}},
			{"1: two Max-Forwards", add("Max-Forwards: 5"), []int{400}},
			{"1: two Content-Type", add("Content-Type: text/plain", "c: text/html"), []int{400}},
			{"1: two Content-Length", add("l: 0"), []int{400}},
			{"1: no From", func(r *Raw) *Raw { return r.Remove("From") }, []int{400}},
			{"1: no To", func(r *Raw) *Raw { return r.Remove("To") }, []int{400}},
			{"1: no Call-ID", func(r *Raw) *Raw { return r.Remove("Call-ID") }, []int{400}},
			{"1: no CSeq", func(r *Raw) *Raw { return r.Remove("CSeq") }, []int{400}},
			{"1: empty Call-ID", set("Call-ID", ""), []int{400}},
			{"1: empty From", set("From", ""), []int{400}},
			{"1: control characters", set("Subject", "a\x00b\x07c"), []int{400}},
			{"1: bad UTF-8", set("Subject", "a\xc3\x28"), []int{400}},
			{"1: line without a colon", add("this is no header"), []int{400}},
			{"1: header name with a space", add("Sub ject: x"), []int{400}},
			{"2: empty sent-by", set("Via", "SIP/2.0/TCP ;branch=z9hG4bKx1"), []int{400, 0}},
			{"2: garbage sent-by", set("Via", "SIP/2.0/TCP !\"§$%&/()=;branch=z9hG4bKx2"), []int{400, 0}},
			{"2: port too large", set("Via", "SIP/2.0/TCP 127.0.0.1:65536;branch=z9hG4bKx3"), []int{400, 0}},
			{"2: port of many digits", set("Via", "SIP/2.0/TCP 127.0.0.1:"+digits+";branch=z9hG4bKx4"), []int{400, 0}},
			{"2: open bracket", set("Via", "SIP/2.0/TCP [::1;branch=z9hG4bKx5"), []int{400, 0}},
			{"2: hundreds of parameters", set("Via", "SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKx6;rport"+params), []int{400, 407, 0}},
			{"2: no Via", func(r *Raw) *Raw { return r.Remove("Via") }, []int{400, 0}},
			{"2: empty Via", set("Via", ""), []int{400, 0}},
			{"2: commas", set("Via", ",,,"), []int{400, 0}},
			{"2: no transport", set("Via", "SIP/2.0 127.0.0.1;branch=z9hG4bKx7"), []int{400, 0}},
			{"2: wrong version", set("Via", "SIP/3.0/TCP 127.0.0.1;branch=z9hG4bKx8"), []int{400, 505, 0}},
			{"2: bare branch", set("Via", "SIP/2.0/TCP 127.0.0.1;branch=;rport"), []int{400, 0}},
			{"5: CSeq of thousands of digits", set("CSeq", digits+" MESSAGE"), []int{400}},
			{"5: CSeq past 32 bit", set("CSeq", "4294967296 MESSAGE"), []int{400}},
			{"5: CSeq negative", set("CSeq", "-1 MESSAGE"), []int{400}},
			{"5: CSeq without method", set("CSeq", "1"), []int{400}},
			{"5: CSeq of another method", set("CSeq", "1 INVITE"), []int{400}},
			{"5: CSeq hexadecimal", set("CSeq", "0x1 MESSAGE"), []int{400}},
			{"5: Expires past 32 bit", set("Expires", "4294967296"), []int{400}},
			{"5: Expires of thousands of digits", set("Expires", digits), []int{400}},
			{"5: Expires negative", set("Expires", "-1"), []int{400}},
			{"5: Max-Forwards past 8 bit", set("Max-Forwards", "256"), []int{400}},
			{"5: Max-Forwards past 32 bit", set("Max-Forwards", "4294967297"), []int{400}},
			{"5: Max-Forwards negative", set("Max-Forwards", "-1"), []int{400}},
			{"5: Content-Length past 32 bit", set("Content-Length", "4294967296"), []int{400, 413}},
			{"5: Content-Length past 64 bit", set("Content-Length", "18446744073709551617"), []int{400, 413}},
			{"5: Content-Length of thousands of digits", set("Content-Length", digits), []int{400, 413}},
			{"19: Content-Length negative", set("Content-Length", "-1"), []int{400}},
			{"19: Content-Length no number", set("Content-Length", "five"), []int{400}},
			{"19: Contact: %", set("Contact", "%"), []int{400}},
			{"19: Contact: <", set("Contact", "<"), []int{400}},
			{"19: Contact: <sip:%>", set("Contact", "<sip:%@x>"), []int{400}},
			{"19: Route: %", set("Route", "%"), []int{400}},
			{"19: Record-Route: %", set("Record-Route", "%"), []int{400}},
			{"19: Request-URI %", func(r *Raw) *Raw { return r.First("MESSAGE sip:% SIP/2.0") }, []int{400}},
			{"19: Request-URI empty", func(r *Raw) *Raw { return r.First("MESSAGE  SIP/2.0") }, []int{400, 0}},
			{"19: Request-URI of quotes", func(r *Raw) *Raw { return r.First(`MESSAGE "sip:bob@example.com" SIP/2.0`) }, []int{400}},
			{"19: version 1.0", func(r *Raw) *Raw { return r.First("MESSAGE sip:bob@example.com SIP/1.0") }, []int{505}},
			{"19: HTTP", func(r *Raw) *Raw { return r.First("GET / HTTP/1.1") }, []int{400, 0}},
			{"19: method of one kilobyte", func(r *Raw) *Raw { return r.First(strings.Repeat("M", 1000) + " sip:bob@example.com SIP/2.0") }, []int{400, 501}},
		})
		refuseAll(t, s, sip.REGISTER, []bad{
			{"19: Contact: %", set("Contact", "%"), []int{400}},
			{"19: Contact: * and another", set("Contact", "*, <sip:a@b>"), []int{400}},
			{"19: Contact without angles and with headers", set("Contact", "sip:a@b?x=y"), []int{400}},
			{"5: expires of thousands of digits", set("Contact", "<sip:alice@192.0.2.1>;expires="+digits), []int{400, 401}},
			{"5: q of thousands of digits", set("Contact", "<sip:alice@192.0.2.1>;q=0."+digits), []int{400}},
			{"5: q of 7", set("Contact", "<sip:alice@192.0.2.1>;q=7"), []int{400}},
			{"12: Authorization empty", set("Authorization", ""), []int{400, 401}},
			{"12: Authorization garbage", set("Authorization", "Digest ,,,=\"\""), []int{400, 401}},
			{"12: Authorization without values", set("Authorization", "Digest username=\"alice\""), []int{400, 401}},
			{"12: Authorization with an open quote", set("Authorization", "Digest username=\"alice"), []int{400, 401}},
			{"12: 30 Authorizations", func(r *Raw) *Raw {
				for range 30 {
					r.Add(`Authorization: Digest username="alice", realm="example.com", nonce="x", uri="sip:bob@example.com", response="00"`)
				}
				return r
			}, []int{400, 401}},
		})
	})
}

// Row 3: tags and branches of every length around powers of two.
func TestHostileLengths(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		onKinds(t, s, func(t *testing.T, p *Peer) {
			for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 254, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049,
				4095, 4096, 4097, 6000, 8100, 8191, 8192, 8193} {
				long := strings.Repeat("x", n)
				for name, spoil := range map[string]func(*Raw) *Raw{
					"From tag":  set("From", "<sip:alice@example.com>;tag="+long),
					"To tag":    set("To", "<sip:bob@example.com>;tag="+long),
					"branch":    set("Via", "SIP/2.0/"+p.Kind.ViaName()+" "+p.Local.String()+";rport;branch=z9hG4bK"+fmt.Sprint(n)+long),
					"Call-ID":   set("Call-ID", long+fmt.Sprint(n)),
					"user":      func(r *Raw) *Raw { return r.First("MESSAGE sip:" + long + "@example.com SIP/2.0") },
					"host":      func(r *Raw) *Raw { return r.First("MESSAGE sip:bob@" + long + ".example.com SIP/2.0") },
					"parameter": set("From", "<sip:alice@example.com;"+long+"="+long+">;tag=1"),
				} {
					q := p
					if n > 8000 { // may end the connection
						q = s.Dial(p.Kind, From(p.Local.Addr().String())).For(t)
					}
					if m := q.Answers(t, spoil(q.Raw(sip.MESSAGE, "alice", "bob")).Bytes(), 400, 407, 414, 513); t.Failed() {
						t.Fatalf("%s of %d bytes: %s", name, n, Line(m))
					}
					if q != p {
						q.Close()
					}
				}
			}
		})
	})
}

// Row 4: what only we may say is taken out in every spelling, from what is forwarded and from what is recorded.
func TestHostileTrusted(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		bob := s.SignedIn("bob", transport.TCP)
		defer bob.Close()
		for i, kind := range kinds {
			t.Run(kind.String(), func(t *testing.T) {
				alice := s.SignedIn("alice", kind, From(fmt.Sprintf("127.0.0.%d", 10+i)))
				alice.For(t)
				defer alice.Close()
				lines := []string{
					"P-Asserted-Identity: <sip:evil@example.com>",
					"P-Asserted-Identity : <sip:evil@example.com>",
					"P-Asserted-Identity\t :\t<sip:evil@example.com>",
					"P-Asserted-Identity:\r\n <sip:evil@example.com>",
					"P-Asserted-Identity:\r\n\t<tel:+1evil>",
					"p-asserted-identity: <sip:evil@example.com>",
					"P-ASSERTED-IDENTITY:<sip:evil@example.com>",
					"P-Asserted-Identity: \"evil\" <sip:evil@example.com>, <tel:+15550000>",
					"P-Preferred-Identity: <sip:evil@example.com>",
					"P-PREFERRED-IDENTITY : <sip:evil@example.com>",
					"Remote-Party-ID: <sip:evil@example.com>;party=calling;screen=yes",
					"remote-party-id : <sip:evil@example.com>",
				}
				for _, line := range lines {
					for _, method := range []string{sip.INVITE, sip.MESSAGE, sip.OPTIONS, sip.REFER} {
						r := alice.Raw(method, "alice", "bob").Add(line).Set("Contact", alice.Contact)
						switch method {
						case sip.MESSAGE:
							r.Body("text/plain", "hello")
						case sip.REFER:
							r.Set("Refer-To", "<sip:carol@example.com>")
						}
						alice.Write(alice.Signed(t, r.Bytes()))
						got := bob.Wait(method, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == method })
						if raw := string(got.Bytes()); strings.Contains(raw, "evil") {
							t.Errorf("%q came through in %s:\n%s", line, method, raw)
						}
						if n := got.Count(sip.HPAssertedIdentity); n != 1 || !strings.Contains(got.Get(sip.HPAssertedIdentity), "<sip:alice@example.com>") {
							t.Errorf("%s has %d P-Asserted-Identity: %s", method, n, got.Get(sip.HPAssertedIdentity))
						}
						status := 200
						if method == sip.INVITE {
							status = 486
						}
						bob.Reply(got, status)
						if m := alice.Wait("the answer", final); m.Status() != status {
							t.Errorf("%s with %q: %s", method, line, Line(m))
						}
					}
				}
			})
		}
	})
}

// Row 7, and the header block's limits on streams.
func TestHostileManyHeaders(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		many := strings.Repeat("Accept: text/plain\r\n", 10_000)
		some := strings.Repeat("a: b\r\n", 600)
		refuseAll(t, s, sip.SUBSCRIBE, []bad{
			{"7: 600 headers", func(r *Raw) *Raw { return r.Add("Event: reg", strings.TrimSuffix(some, "\r\n")) }, []int{400, 0}},
			{"7: one Accept of 5,000 values", func(r *Raw) *Raw {
				return r.Add("Event: reg", "Accept: "+strings.TrimSuffix(strings.Repeat("a/b,", 5000), ","))
			}, []int{400, 0}},
			{"7: 2,000 folds", func(r *Raw) *Raw { return r.Add("Accept: a/b" + strings.Repeat("\r\n ,a/b", 2000)) }, []int{400, 0}},
		})
		for _, kind := range []transport.Kind{transport.TCP, transport.TLS, transport.WS} {
			p := s.Dial(kind, "127.0.0.31").For(t)
			p.Refuses(t, p.Raw(sip.SUBSCRIBE, "alice", "bob").Add("Event: reg", strings.TrimSuffix(many, "\r\n")).Bytes(), 400)
			p.Close()
		}
	})
}

// Row 11: without credentials nothing is relayed, whatever the method, the address and the way.
func TestHostileStrangers(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		bob := s.SignedIn("bob", transport.TCP)
		defer bob.Close()
		udp := s.SignedIn("bob2", transport.UDP)
		defer udp.Close()
		contact := strings.Trim(bob.Contact, "<>")
		onKinds(t, s, func(t *testing.T, p *Peer) {
			for _, method := range []string{sip.MESSAGE, sip.SUBSCRIBE, sip.PUBLISH, sip.REFER, sip.NOTIFY, sip.OPTIONS, sip.INVITE, sip.BYE, sip.INFO, sip.UPDATE,
				sip.PRACK, sip.REGISTER, "NEWMETHOD"} {
				for name, spoil := range map[string]func(*Raw) *Raw{
					"to the user":                func(r *Raw) *Raw { return r },
					"to the device":              func(r *Raw) *Raw { return r.First(method + " " + contact + " SIP/2.0") },
					"to the device over UDP":     func(r *Raw) *Raw { return r.First(method + " sip:bob@" + udp.Local.String() + " SIP/2.0") },
					"in a dialog":                func(r *Raw) *Raw { return r.Set("To", "<sip:bob@example.com>;tag=made-up") },
					"with a Route to the device": func(r *Raw) *Raw { return r.Set("Route", "<"+contact+";lr>") },
					"with a Route to us":         func(r *Raw) *Raw { return r.Set("Route", "<sip:"+s.Addrs[transport.TCP]+";transport=tcp;lr>") },
					"with maddr": func(r *Raw) *Raw {
						return r.First(method + " sip:bob@example.com;maddr=" + udp.Local.Addr().String() + " SIP/2.0")
					},
					"in the name of a stranger":   func(r *Raw) *Raw { return r.Set("From", "<sip:eve@elsewhere.invalid>;tag=1") },
					"in no name":                  func(r *Raw) *Raw { return r.Set("From", "<sip:anonymous@anonymous.invalid>;tag=1") },
					"to another domain":           func(r *Raw) *Raw { return r.First(method + " sip:bob@elsewhere.invalid SIP/2.0") },
					"with an Authorization of no": func(r *Raw) *Raw { return r.Add(`Proxy-Authorization: Basic Ym9iOmJvYg==`) },
				} {
					r := spoil(p.Raw(method, "alice", "bob").Set("Contact", "<sip:alice@"+p.Local.String()+">"))
					if method == sip.SUBSCRIBE || method == sip.NOTIFY || method == sip.PUBLISH {
						r.Set("Event", "reg")
					}
					if method == sip.REFER {
						r.Set("Refer-To", "<sip:carol@example.com>")
					}
					m := p.Answers(t, r.Bytes(), 401, 407, 403, 404, 405, 481, 489, 501)
					if method == sip.INVITE {
						req, _ := sip.Parse(r.Bytes()) // our own
						p.Write(ackFor(req, m).Bytes())
					}
					if t.Failed() {
						t.Fatalf("%s %s", method, name)
					}
				}
				// ACK and CANCEL are never challenged and never answered; they must not be relayed either.
				p.Write(p.Raw(sip.ACK, "alice", "bob").First("ACK " + contact + " SIP/2.0").Bytes())
				p.Write(p.Raw(sip.ACK, "alice", "bob").Set("Route", "<"+contact+";lr>").Bytes())
				p.Answers(t, p.Raw(sip.CANCEL, "alice", "bob").First("CANCEL "+contact+" SIP/2.0").Bytes(), 481)
			}
			for _, method := range []string{sip.MESSAGE, sip.INVITE, sip.OPTIONS, sip.ACK, sip.CANCEL, sip.BYE, sip.REFER, sip.NOTIFY, sip.INFO, sip.UPDATE} {
				bob.For(t)
				udp.For(t)
				bob.Silent(method)
				udp.Silent(method)
			}
		})
		// Recorded is what the pair says, nothing else.
		for _, r := range s.Records("message", "call.start") {
			if r.From != AOR("dave") {
				t.Errorf("recorded: %v", r)
			}
		}
	})
}

// Row 16: a page of another origin may not open a WebSocket.
func TestHostileOrigin(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		upgrade := func(headers ...string) int {
			return s.rawHTTP(t, "GET /sip HTTP/1.1\r\nHost: "+s.Addrs[transport.WS]+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: session=valid\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n")
		}
		const protocol = "Sec-WebSocket-Protocol: sip"
		for want, rows := range map[int][]string{
			101: {"", "Origin: http://" + s.Addrs[transport.WS], "Origin: https://chat.example.com"},
			403: {"Origin: https://evil.invalid", "Origin: null", "Origin: https://chat.example.com.evil.invalid", "Origin: https://chat.example.com:444",
				"Origin: http://chat.example.com", "Origin: http://127.0.0.1", "Origin: file://", "Origin: https://evil.invalid\r\nOrigin: https://chat.example.com"},
		} {
			for _, row := range rows {
				headers := []string{protocol}
				if row != "" {
					headers = append(headers, row)
				}
				if got := upgrade(headers...); got != want {
					t.Errorf("%q: %d, want %d", row, got, want)
				}
			}
		}
		if got := upgrade("Origin: http://" + s.Addrs[transport.WS]); got != 400 { // RFC 7118 §4.1
			t.Errorf("without the subprotocol: %d", got)
		}
		if got := upgrade("Sec-WebSocket-Protocol: xmpp"); got != 400 {
			t.Errorf("with another subprotocol: %d", got)
		}
	}, func(c *config.Config) { c.HTTP.Origins = []string{"https://chat.example.com"} })
}

// Row 18: contacts that point back here are refused, and devices that send calls back make no storm.
func TestHostileLoops(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		a := s.UA("alice", transport.TCP)
		defer a.Close()
		for _, contact := range []string{"<sip:bob@example.com>", "<sip:alice@example.com>", "<sips:bob@example.com>", "<sip:bob@EXAMPLE.COM.>",
			"<sip:bob@" + s.Addrs[transport.TCP] + ">", "<sip:bob@" + s.Addrs[transport.TCP] + ";transport=tcp>", "<sip:bob@" + s.Addrs[transport.UDP] + ";transport=udp>", "<sip:%62ob@example.com>",
			"<sip:bob@example.com;gr=x>", "<sip:bob@example.com;maddr=127.0.0.1>"} {
			a.Contact = contact
			if m := a.Do(a.RegisterRequest(600)); m.Status() != 403 {
				t.Errorf("Contact %s: %s", contact, Line(m))
			}
		}
		// Two devices each that send whatever comes to the other user, with themselves in Via, as a forwarding phone
		// or a proxy of another make would.
		devices := map[*UA]string{}
		for i, name := range []string{"alice1", "alice2", "bob1", "bob2"} {
			u := s.SignedIn(name, transport.TCP)
			defer u.Close()
			devices[u] = []string{"bob", "bob", "alice", "alice"}[i]
		}
		carol := s.SignedIn("carol", transport.TCP)
		defer carol.Close()
		carol.For(t)
		d := carol.Request(sip.INVITE, "alice").Add(sip.HContact, carol.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
		carol.Write(d.Bytes())
		requests := 0
		began := time.Now()
		for round := 0; round < 100; round++ {
			if requests < 2 && time.Since(began) < Patience {
				round = 0 // it has not begun
			}
			moved := false
			for u, other := range devices {
				for _, m := range u.drain() {
					if !m.IsRequest() || m.Method() != sip.INVITE {
						if m.IsRequest() && m.Method() == sip.CANCEL {
							u.Reply(m, 200)
						}
						if !m.IsRequest() && m.Status() >= 200 && m.Method() == sip.INVITE {
							// Back the way it came: without our Via, to the request it answers.
							u.Write(m.Edit().RemoveFirst(sip.HVia).Bytes())
						}
						moved = true
						continue
					}
					requests++
					moved = true
					n, _ := m.Int(sip.HMaxForwards)
					u.Write(m.Edit().SetURI("sip:"+AOR(other)).Prepend(sip.HVia, u.Via()).Set(sip.HMaxForwards, fmt.Sprint(n-1)).Bytes())
				}
			}
			if _, err := carol.Find(50*time.Millisecond, final); err == nil && !moved {
				break
			}
			if requests > 200 {
				t.Fatalf("a storm: %d INVITEs at the devices", requests)
			}
		}
		t.Logf("%d INVITEs at the devices", requests)
		if requests < 2 {
			t.Errorf("the devices got %d INVITEs: nothing was tried", requests)
		}
	})
}

// drain takes all that has come.
func (p *Peer) drain() []*sip.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.inbox
	p.inbox = nil
	return list
}

// Row 19: noise on every door.
func TestHostileGarbage(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		random := rand.New(rand.NewPCG(1, 2))
		noise := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			return b
		}
		stun := func(edit func([]byte) []byte) []byte {
			return edit([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"))
		}
		samples := [][]byte{
			{}, {0}, {0xff}, []byte("\r"), []byte("\n"), []byte("\n\n\n\n"), []byte(" "), noise(20), noise(100), noise(1000), noise(60_000),
			bytes.Repeat([]byte{0}, 5000), bytes.Repeat([]byte("A"), 30_000), bytes.Repeat([]byte("\r\n"), 10_000),
			[]byte("GET /sip HTTP/1.1\r\nHost: x\r\n\r\n"), []byte("EHLO x\r\n"), []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
			stun(func(b []byte) []byte { return b[:10] }),
			stun(func(b []byte) []byte { b[3] = 200; return b }),
			stun(func(b []byte) []byte { b[3] = 3; return append(b, 1, 2, 3) }),
			stun(func(b []byte) []byte { b[3] = 8; return append(b, 0x80, 0x22, 0xff, 0xff, 1, 2, 3, 4) }),
			stun(func(b []byte) []byte { b[0] = 1; return b }),
			stun(func(b []byte) []byte { b[4] = 0; return b }),
			[]byte("SIP/2.0 200 OK\r\n\r\n"), []byte("SIP/2.0 99 \r\n\r\n"), []byte("SIP/2.0"), []byte("INVITE"), []byte("INVITE sip:a@b SIP/2.0\r\n\r\n"),
			[]byte("INVITE sip:a@b SIP/2.0\nVia: x\n\n"), []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\n\r\n"),
		}
		onKinds(t, s, func(t *testing.T, first *Peer) {
			for i, b := range samples {
				p := s.Dial(first.Kind, From(first.Local.Addr().String())).For(t)
				if p.TryWrite(b) == nil && first.Kind == transport.UDP {
					p.Refuses(t, []byte("\r\n\r\n"), 400, 505)
				}
				// A good request behind the noise may be eaten with it; a good one elsewhere is not.
				p.Close()
				if !first.Refuses(t, first.Raw(sip.OPTIONS, "alice", "sip:example.com").Bytes(), 407) {
					t.Fatalf("sample %d ended another connection", i)
				}
			}
		})
		// A Binding request is answered, over UDP (RFC 5626 §3.5.2).
		p := s.Dial(transport.UDP).For(t)
		defer p.Close()
		p.Write(stun(func(b []byte) []byte { return b }))
		Eventually(t, "the STUN answer", func() bool { return len(p.Others()) == 1 })
		if b := p.Others()[0]; !bytes.HasPrefix(b, []byte("\x01\x01")) || !bytes.Equal(b[4:20], []byte("\x21\x12\xa4\x42abcdefghijkl")) {
			t.Errorf("STUN answer %x", b)
		}
	})
}

// Row 20: what we made and gets back to us changed is refused.
func TestHostileTokens(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		alice, bob := s.SignedIn("alice", transport.TCP), s.UA("bob", transport.TCP).Instance("phone")
		alice.For(t)
		bob.For(t)
		defer alice.Close()
		defer bob.Close()
		bob.Extra = func(d *sip.Draft) { d.Add(sip.HSupported, "gruu") }
		gruus := gruusOf(bob.Register(), bob.Contact)
		if len(gruus) != 2 || gruus[0] == "" || gruus[1] == "" {
			t.Fatalf("GRUUs %q", gruus)
		}
		d := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact)
		alice.Write(d.Bytes())
		invite := bob.Expect(sip.INVITE)
		bob.Reply(invite, 200)
		req, _ := d.Message() // our own
		ok := alice.Final(d)
		dlg := DialogUAC(req, ok)
		alice.Write(alice.InDialog(dlg, sip.ACK).Bytes())
		bob.Expect(sip.ACK)

		// The true ones work.
		info := func(routes []string) *sip.Message {
			x := *dlg
			x.Routes = routes
			return alice.Do(alice.InDialog(&x, sip.INFO).Body("application/dtmf", []byte("5")))
		}
		alice.Write(alice.InDialog(dlg, sip.OPTIONS).Bytes())
		bob.Reply(bob.Expect(sip.OPTIONS), 200)
		alice.Wait("the answer to OPTIONS", final)

		// Route: each character of the token changed, parts of it left out, the two exchanged, another Call-ID.
		for i, route := range dlg.Routes {
			// The token without its mark, which says that it is one: a Route without a token is a plain one.
			at, end := strings.Index(route, "sip:~")+5, strings.Index(route, "@")
			if at < 5 || end < 0 {
				t.Fatalf("the Route %s has no token", route)
			}
			for j := at; j < end; j += 1 + (end-at)/24 {
				changed := []byte(route)
				changed[j] = flip(changed[j])
				routes := append([]string(nil), dlg.Routes...)
				routes[i] = string(changed)
				if m := info(routes); m.Status() < 400 || m.Status() >= 500 {
					t.Errorf("character %d of %s: %s", j, route, Line(m))
				}
			}
			for _, changed := range []string{route[:at] + route[at+1:], route[:at] + route[at:end] + route[at:end] + route[end:], route[:at] + "x" + route[end:],
				route[:at] + route[end:]} {
				routes := append([]string(nil), dlg.Routes...)
				routes[i] = changed
				if m := info(routes); m.Status() < 400 || m.Status() >= 500 {
					t.Errorf("%s: %s", changed, Line(m))
				}
			}
		}
		other := *dlg
		other.CallID += "x"
		if m := alice.Do(alice.InDialog(&other, sip.BYE)); m.Status() < 400 || m.Status() >= 500 {
			t.Errorf("the Route of another call: %s", Line(m))
		}
		// GRUUs: each character of the part that we made up.
		public, temporary := gruus[0], gruus[1]
		for g, part := range map[string][2]int{
			public:    {strings.Index(public, ";gr=") + 4, len(public)},
			temporary: {strings.Index(temporary, "sip:") + 4, strings.Index(temporary, "@")},
		} {
			for j := part[0]; j < part[1]; j++ {
				changed := g[:j] + string(flip(g[j])) + g[j+1:]
				if m := alice.Do(alice.MessageRequest(changed, "to nobody")); m.Status() < 400 || m.Status() >= 500 {
					t.Errorf("%s for %s: %s", changed, g, Line(m))
				}
			}
		}
		// Branches: a response with a changed one is nobody's.
		alice.Write(alice.InDialog(dlg, sip.INVITE).Add(sip.HContact, alice.Contact).Bytes())
		again := bob.Expect(sip.INVITE)
		raw := string(bob.Response(again, 486).Bytes())
		start := strings.Index(raw, "branch=z9hG4bK") + len("branch=z9hG4bK")
		end := start + strings.IndexAny(raw[start:], ";\r.")
		for j := start; j < end; j++ {
			bob.Write([]byte(raw[:j] + string(flip(raw[j])) + raw[j+1:]))
		}
		bob.Barrier()
		for _, m := range alice.Inbox() {
			if final(m) {
				t.Errorf("a response with a changed branch came through: %s", Line(m))
			}
		}
		bob.Write([]byte(raw))
		if m := alice.Wait("the true answer", final); m.Status() != 486 {
			t.Errorf("the true answer is %s", Line(m))
		}
		for _, m := range bob.Inbox() {
			if m.IsRequest() && (m.Method() == sip.INFO || m.Method() == sip.MESSAGE || m.Method() == sip.BYE) {
				t.Errorf("bob got %s", Line(m))
			}
		}
	})
}

// flip changes a letter or digit into another one that the same places allow.
func flip(c byte) byte {
	switch {
	case c >= '0' && c <= '8', c >= 'a' && c <= 'y', c >= 'A' && c <= 'Y':
		return c + 1
	case c == '9':
		return '0'
	case c == 'z':
		return 'a'
	case c == 'Z':
		return 'A'
	}
	return 'q'
}
