package test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/server"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// Rows 6, 8, 14 and 23: bodies that were made to hurt.
func TestHostileBodies(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		bob := s.SignedIn("bob", transport.TCP)
		defer bob.Close()
		nested := func(depth int) (string, string) {
			body := "Content-Type: text/plain\r\n\r\nsecret words\r\n"
			outer := ""
			for i := range depth {
				outer = fmt.Sprintf("multipart/mixed;boundary=b%d", i)
				body = fmt.Sprintf("--b%d\r\n%s\r\n--b%d--\r\n", i, body, i)
				if i < depth-1 {
					body = "Content-Type: " + outer + "\r\n\r\n" + body
				}
			}
			return outer, body
		}
		deepType, deep := nested(1000)
		xml := func(inside string) string {
			return `<?xml version="1.0"?>` + inside
		}
		typing := func(inside string) string {
			return xml(`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state>` + inside + `</isComposing>`)
		}
		receipt := func(inside string) string {
			return xml(`<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>x</message-id><datetime>2026-03-01T10:00:00Z</datetime><delivery-notification><status><delivered/></status></delivery-notification>` + inside + `</imdn>`)
		}
		laughs := `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>`
		depth := strings.Repeat("<x>", 1000) + strings.Repeat("</x>", 1000)
		attributes := func(n int) string {
			text := "<x"
			for i := range n {
				text += fmt.Sprintf(` a%d="b"`, i)
			}
			return text + "/>"
		}
		const typingType, receiptType = "application/im-iscomposing+xml", "message/imdn+xml"
		wrapped := func(contentType, body string) string {
			return "From: <sip:alice@example.com>\r\nTo: <sip:bob@example.com>\r\n\r\nContent-Type: " + contentType + "\r\n\r\n" + body
		}
		type row struct {
			name, contentType, body string
			want                    []int
		}
		messages := []row{
			{"6: no closing boundary", "multipart/mixed;boundary=x", "--x\r\nContent-Type: text/plain\r\n\r\nsecret words", []int{400, 415}},
			{"6: no boundary", "multipart/mixed", "--x\r\n\r\nsecret words\r\n--x--\r\n", []int{400, 415}},
			{"6: empty boundary", `multipart/mixed;boundary=""`, "--\r\n\r\nsecret words\r\n----\r\n", []int{400, 415}},
			{"6: boundary of one kilobyte", "multipart/mixed;boundary=" + strings.Repeat("b", 1000), "--x--", []int{400, 415}},
			{"6: boundary that is not there", "multipart/mixed;boundary=y", "--x\r\n\r\nsecret words\r\n--x--\r\n", []int{400, 415}},
			{"6: nested 1,000 deep", deepType, deep, []int{400, 413, 415}},
			{"6: 5,000 parts", "multipart/mixed;boundary=x", strings.Repeat("--x\r\n\r\na\r\n", 5000) + "--x--\r\n", []int{400, 413, 415}},
			{"14: doctype", typingType, xml(`<!DOCTYPE x SYSTEM "file:///etc/passwd">`) + strings.TrimPrefix(typing(""), xml("")), []int{400, 415}},
			{"14: entities", typingType, xml(laughs) + strings.TrimPrefix(typing("<y>&c;</y>"), xml("")), []int{400, 415}},
			{"14: depth 1,000", typingType, typing(depth), []int{400, 415}},
			{"14: 5,000 attributes", typingType, typing(attributes(5000)), []int{400, 413, 415}},
			{"14: not closed", typingType, typing("<x>"), []int{400, 415}},
			{"14: two roots", typingType, typing("") + "<x/>", []int{400, 415}},
			{"14: NUL", typingType, typing("\x00"), []int{400, 415}},
			{"14: UTF-16", typingType, "\xff\xfe<\x00?\x00x\x00", []int{400, 415}},
			{"14: another charset", typingType, strings.Replace(typing(""), `version="1.0"`, `version="1.0" encoding="EBCDIC"`, 1), []int{400, 415}},
			{"14: doctype in a receipt", receiptType, xml(laughs) + strings.TrimPrefix(receipt("&c;"), xml("")), []int{400, 415}},
			{"14: depth in a receipt", receiptType, receipt(depth), []int{400, 415}},
			{"14: doctype in CPIM", "message/cpim", wrapped(typingType, xml(laughs)+strings.TrimPrefix(typing("&c;"), xml(""))), []int{400, 415}},
			{"14: depth in CPIM", "message/cpim", wrapped(receiptType, receipt(depth)), []int{400, 415}},
			{"6: CPIM without an end of headers", "message/cpim", "From: <sip:alice@example.com>", []int{400, 415}},
			{"6: CPIM in CPIM of another", "message/cpim", wrapped("message/cpim", strings.Replace(wrapped("text/plain", "secret words"), "alice", "carol", 1)), []int{200, 400, 403, 415}},
			{"6: no Content-Type", "", "secret words", []int{400, 415}},
		}
		offers := []row{
			{"8: format past 32 bit", "application/sdp", SDP("audio 49170 RTP/AVP 4294967296"), []int{400, 486, 488}},
			{"8: port past 16 bit", "application/sdp", SDP("audio 65536 RTP/AVP 0"), []int{400, 488}},
			{"8: NUL bytes", "application/sdp", SDP("audio 49170 RTP/AVP 0\x00"), []int{400, 488}},
			{"8: NUL only", "application/sdp", strings.Repeat("\x00", 1000), []int{400, 488}},
			{"8: 3,000 m-lines", "application/sdp", SDP(strings.Split(strings.TrimSuffix(strings.Repeat("audio 4000 RTP/AVP 0|", 3000), "|"), "|")...), []int{400, 413, 488}},
			{"8: 20 kB of attributes", "application/sdp", SDP("audio 4000 RTP/AVP 0") + strings.Repeat("a=x\r\n", 4000), []int{400, 413, 486, 488}},
			{"8: empty lines", "application/sdp", strings.Repeat("\r\n", 1000), []int{400, 488}},
			{"8: no version", "application/sdp", "m=audio 4000 RTP/AVP 0\r\n", []int{400, 488}},
			{"6: nested multipart", deepType, deep, []int{400, 413, 415, 488}},
			{"6: no boundary", "multipart/mixed", SDP("audio 4000 RTP/AVP 0"), []int{400, 415, 488}},
		}
		for i, kind := range kinds {
			t.Run(kind.String(), func(t *testing.T) {
				alice := s.SignedIn("alice", kind, From(fmt.Sprintf("127.0.0.%d", 40+i)))
				alice.For(t)
				defer alice.Close()
				for _, row := range messages {
					r := alice.Raw(sip.MESSAGE, "alice", "bob").Body(row.contentType, row.body)
					if row.contentType == "" {
						r.Remove("Content-Type")
					}
					before := len(bob.Inbox())
					data := alice.Signed(t, r.Bytes())
					if kind == transport.UDP && len(data) > 65_000 {
						continue // no datagram can hold it
					}
					if row.want[0] == 200 {
						alice.Write(data)
						began := time.Now()
						arrived, m := Either(alice, bob, sip.MESSAGE)
						if arrived != nil {
							bob.Reply(arrived, 200)
							m = alice.Wait("the answer", final)
						}
						if !contains(row.want, m.Status()) && !(arrived != nil && Taken(m, began)) {
							t.Fatalf("%s: %s", row.name, Line(m))
						}
						continue
					}
					if m := alice.Answers(t, data, row.want...); t.Failed() {
						t.Fatalf("%s: %s", row.name, Line(m))
					}
					if n := len(bob.Inbox()); n != before {
						t.Errorf("%s: it went on to bob", row.name)
					}
				}
				for _, row := range offers {
					r := alice.Raw(sip.INVITE, "alice", "bob").Set("Contact", alice.Contact).Body(row.contentType, row.body)
					data := alice.Signed(t, r.Bytes())
					if kind == transport.UDP && len(data) > 65_000 {
						continue // no datagram can hold it
					}
					alice.Write(data)
					// What is harmless may ring.
					arrived, got := Either(alice, bob, sip.INVITE)
					if arrived != nil {
						bob.Reply(arrived, 486)
						got = alice.Wait("the answer", final)
					}
					if !contains(row.want, got.Status()) {
						t.Errorf("%s: %s, want %v", row.name, Line(got), row.want)
					}
					if req, _ := sip.Parse(data); req.Method() == sip.INVITE {
						alice.Write(ackFor(req, got).Bytes())
					}
				}
			})
		}
	})
}

func contains(list []int, n int) bool {
	for _, x := range list {
		if x == n {
			return true
		}
	}
	return false
}

// Row 23: what grows a thousand times when it is unpacked.
func TestHostileBombs(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		bob := s.SignedIn("bob", transport.TCP)
		defer bob.Close()
		alice := s.SignedIn("alice", transport.TCP)
		defer alice.Close()
		alice.For(t)
		bob.For(t)
		deflate := func(n int) string {
			var b bytes.Buffer
			w, _ := zlib.NewWriterLevel(&b, 9) // 9 is a level
			_, _ = w.Write(bytes.Repeat([]byte("a"), n))
			_ = w.Close()
			return b.String()
		}
		zipped := func(n int) string {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, _ = w.Write(bytes.Repeat([]byte("a"), n))
			_ = w.Close()
			return b.String()
		}
		limit := s.Config.Limits.Body
		send := func(encoding, body string) *sip.Message {
			return alice.Do(alice.Request(sip.MESSAGE, "bob").Body("text/plain", []byte(body)).Add(sip.HContentEncoding, encoding))
		}
		// At the limit it is a message like any other.
		began := time.Now()
		d := alice.Request(sip.MESSAGE, "bob").Body("text/plain", []byte(deflate(limit))).Add(sip.HContentEncoding, "deflate")
		alice.Write(d.Bytes())
		if m := bob.Expect(sip.MESSAGE); len(m.Body()) != limit || m.Has(sip.HContentEncoding) {
			t.Errorf("bob got %d bytes with Content-Encoding %q", len(m.Body()), m.Get(sip.HContentEncoding))
		} else {
			bob.Reply(m, 200)
		}
		if m := alice.Final(d); !Taken(m, began) {
			t.Errorf("at the limit: %s", Line(m))
		}
		for _, row := range []struct {
			encoding, body string
			want           int
		}{
			{"deflate", deflate(limit + 1), 413},
			{"deflate", deflate(20 << 20), 413},
			{"gzip", zipped(20 << 20), 413},
			{"deflate", deflate(100)[:10], 400},
			{"deflate", "no deflate at all", 400},
			{"br", "x", 415},
			{"deflate, gzip", deflate(100), 415},
		} {
			if m := send(row.encoding, row.body); m.Status() != row.want {
				t.Errorf("%s of %d bytes: %s, want %d", row.encoding, len(row.body), Line(m), row.want)
			}
		}
		invite := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("application/sdp", []byte(deflate(20<<20))).Add(sip.HContentEncoding, "deflate")
		if m := alice.Do(invite); m.Status() != 413 && m.Status() != 415 {
			t.Errorf("a bomb in INVITE: %s", Line(m))
		}
		bob.Silent(sip.MESSAGE)
		// And on the API.
		status := s.postAPI(t, "/parley.v1.UserService/AddUsers", zipped(100<<20))
		if status < 400 || status >= 500 {
			t.Errorf("a bomb to the API: status %d", status)
		}
	})
}

// postAPI sends a gzipped JSON body to the API's socket.
func (s *Server) postAPI(t *testing.T, path, body string) int {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", server.Socket(s.Config.Data))
	}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://parley"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // only the status counts
	return resp.StatusCode
}

// Row 12: digests that are not what was asked for.
func TestHostileDigest(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		u := s.UA("alice", transport.TCP, "127.0.8.1")
		defer u.Close()
		u.For(t)
		ask := func() *Challenge {
			t.Helper()
			return choose(ParseChallenges(u.Ask(u.Request(sip.REGISTER, "sip:example.com").Set(sip.HTo, "<sip:alice@example.com>"))), SHA256)
		}
		try := func(name string, want int, value string) {
			t.Helper()
			m := u.Ask(u.Request(sip.REGISTER, "sip:example.com").Set(sip.HTo, "<sip:alice@example.com>").Add(sip.HAuthorization, value))
			if m.Status() != want {
				t.Errorf("%s: %s, want %d", name, Line(m), want)
			}
		}
		password := Password("alice")
		c := ask()
		if c == nil {
			t.Fatal("SHA-256 was not offered")
		}
		md5 := *c
		try("MD5 where only SHA-256 is allowed", 401, md5.Answer(Qop, "alice", password, sip.REGISTER, "sip:example.com"))
		try("MD5 without qop", 401, md5.Answer(NoQop, "alice", password, sip.REGISTER, "sip:example.com"))
		good := c.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 1)
		try("the right answer", 200, good)
		try("the same answer again", 401, good)
		try("the next count", 200, c.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 2))
		try("count 2 again", 401, c.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 2))
		try("a count far ahead", 200, c.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 50))
		for name, nonce := range map[string]string{
			"a nonce of our own":  "0123456789abcdef",
			"a nonce cut":         c.Nonce[:len(c.Nonce)-1],
			"a nonce extended":    c.Nonce + "a",
			"a changed nonce":     string(flip(c.Nonce[0])) + c.Nonce[1:],
			"changed at the end":  c.Nonce[:len(c.Nonce)-2] + string(flip(c.Nonce[len(c.Nonce)-2])) + c.Nonce[len(c.Nonce)-1:],
			"ten kilobytes of it": strings.Repeat("x", 6000),
		} {
			x := *c
			x.Nonce = nonce
			try(name, 401, x.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 1))
		}
		x := *ask()
		try("made for another method", 401, x.AnswerCount(SHA256, "alice", password, sip.INVITE, "sip:example.com", 1))
		try("made for another URI", 400, x.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:bob@example.org", 2))
		try("another realm", 401, strings.Replace(x.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 3), `realm="example.com"`, `realm="evil.invalid"`, 1))
		try("another user's name", 401, x.AnswerCount(SHA256, "bob", password, sip.REGISTER, "sip:example.com", 4))
		try("auth-int in name only", 401, strings.Replace(x.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 5), "qop=auth,", "qop=auth-int,", 1))
		try("without nc", 400, strings.Replace(x.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 6), "nc=00000006, ", "", 1))
		// A captured answer does not work from another address.
		y := *ask()
		captured := y.AnswerCount(SHA256, "alice", password, sip.REGISTER, "sip:example.com", 1)
		thief := s.UA("alice", transport.TCP, "127.0.8.2")
		defer thief.Close()
		thief.For(t)
		if m := thief.Ask(thief.Request(sip.REGISTER, "sip:example.com").Set(sip.HTo, "<sip:alice@example.com>").Add(sip.HAuthorization, captured)); m.Status() != 401 {
			t.Errorf("captured and sent from another address: %s", Line(m))
		}
		// Wrong passwords are slowed down, for this address alone.
		guesser := s.UA("bob", transport.TCP, "127.0.8.3")
		defer guesser.Close()
		guesser.For(t)
		guesser.Style, guesser.Password = SHA256, "guess"
		locked := 0
		for range 15 {
			m := guesser.Do(guesser.RegisterRequest(600))
			switch m.Status() {
			case 401:
			case 403:
				locked++
				if !m.Has(sip.HRetryAfter) {
					t.Error("no Retry-After")
				}
			default:
				t.Errorf("a guess: %s", Line(m))
			}
		}
		if locked == 0 {
			t.Error("15 guesses in a row were all taken")
		}
		guesser.Password = Password("bob")
		if m := guesser.Do(guesser.RegisterRequest(600)); m.Status() != 403 {
			t.Errorf("the right password while locked: %s", Line(m))
		}
		honest := s.UA("bob", transport.TCP, "127.0.8.4")
		defer honest.Close()
		honest.Style = SHA256
		honest.Register()
	}, func(c *config.Config) {
		c.SIP.Listener = map[string]config.Listener{"tcp:127.0.0.1:0": {Digest: []string{"SHA-256"}}}
	})
}

// Row 21: what is logged is one line, quoted and cut, whatever a peer calls itself.
func TestHostileLog(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		const inject = `\` + "\x01" + `x` // a quoted-pair
		evil := "x\u2028\u202etime=2026-01-01T00:00:00Z level=ERROR msg=forged\x1b[31m"
		long := strings.Repeat("A", 4000)
		onKinds(t, s, func(t *testing.T, p *Peer) {
			for _, value := range []string{evil, long, `a\nb`, `a%0d%0alevel=ERROR`, inject, "ü€", "%s%n%x"} {
				quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
				for _, r := range []*Raw{
					p.Raw(sip.REGISTER, "alice", "sip:example.com").Set("To", "<sip:alice@example.com>").Set("User-Agent", value),
					p.Raw(sip.MESSAGE, "alice", "bob").Set("From", quoted+" <sip:alice@example.com>;tag=1"),
					p.Raw(sip.MESSAGE, "alice", "bob").Set("Call-ID", strings.ReplaceAll(value, " ", "_")),
					p.Raw(sip.MESSAGE, "alice", "bob").Set("Subject", value),
					p.Raw(sip.MESSAGE, "alice", "bob").Add("X-" + strings.Repeat("Y", 200) + ": " + value),
				} {
					p.Refuses(t, r.Bytes(), 400, 401, 407)
				}
				// A wrong password is logged with the name.
				q := s.UA("alice", p.Kind, From(p.Local.Addr().String()))
				d := q.RegisterRequest(600)
				m := q.Ask(d)
				if c := choose(ParseChallenges(m), Qop); c != nil {
					name := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x01", "").Replace(value)
					q.Write(d.Add(sip.HAuthorization, c.Answer(Qop, name, "wrong", sip.REGISTER, "sip:example.com")).ReplaceFirst(sip.HVia, q.Via()).Bytes())
					q.Wait("an answer", final)
				}
				q.Close()
			}
		})
		checkLog(t, s.Log())
	})
}

// checkLog wants every line of a log to be one that the server wrote.
func checkLog(t *testing.T, log string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(log) {
		if !strings.HasSuffix(line, "\n") {
			break // the rest of it is on its way
		}
		n++
		if !strings.HasPrefix(line, "time=") || !strings.Contains(line, " level=") || len(line) > 2000 || strings.ContainsAny(line, "\x1b\x00\r\u2028\u202e") ||
			strings.Contains(line, " level=ERROR") {
			t.Errorf("a log line of %d bytes: %.300q", len(line), line)
		}
	}
	if n < 5 {
		t.Errorf("only %d lines were logged", n)
	}
}

// Row 22: words that try to get past the record.
func TestHostileArchiveBypass(t *testing.T) {
	attack(t, func(t *testing.T, s *Server) {
		const secret = "tell-nobody"
		alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
		alice.For(t)
		bob.For(t)
		defer alice.Close()
		defer bob.Close()

		// Outside a dialog: what arrives at bob's with the words in it must be in the log.
		outside := []struct {
			name  string
			spoil func() *sip.Draft
		}{
			{"MESSAGE with Expires: 0", func() *sip.Draft { return alice.MessageRequest("bob", secret).Add(sip.HExpires, "0") }},
			{"MESSAGE with an old Date", func() *sip.Draft {
				return alice.MessageRequest("bob", secret).Add(sip.HDate, "Sat, 13 Nov 2010 23:29:00 GMT")
			}},
			{"Subject of a MESSAGE", func() *sip.Draft { return alice.MessageRequest("bob", "x").Add(sip.HSubject, secret) }},
			{"Subject of a MESSAGE without a body", func() *sip.Draft { return alice.Request(sip.MESSAGE, "bob").Add(sip.HSubject, secret) }},
			{"another header of a MESSAGE", func() *sip.Draft { return alice.MessageRequest("bob", "x").AddName("X-Note", secret) }},
			{"display name of a MESSAGE", func() *sip.Draft {
				return alice.MessageRequest("bob", "x").Set(sip.HFrom, `"`+secret+`" <sip:alice@example.com>;tag=d`+Unique())
			}},
			{"Call-Info of a MESSAGE", func() *sip.Draft { return alice.MessageRequest("bob", "x").AddName("Call-Info", "<data:,"+secret+">") }},
			{"Content-Disposition of a MESSAGE", func() *sip.Draft {
				return alice.MessageRequest("bob", "x").Add(sip.HContentDisposition, "render;filename="+secret)
			}},
			{"typing with words", func() *sip.Draft {
				return alice.Request(sip.MESSAGE, "bob").Body("application/im-iscomposing+xml", []byte(`<?xml version="1.0"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><contenttype>`+secret+`</contenttype></isComposing>`))
			}},
			{"typing with a comment", func() *sip.Draft {
				return alice.Request(sip.MESSAGE, "bob").Body("application/im-iscomposing+xml", []byte(`<?xml version="1.0"?><!-- `+secret+` --><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`))
			}},
			{"typing with a state of words", func() *sip.Draft {
				return alice.Request(sip.MESSAGE, "bob").Body("application/im-iscomposing+xml", []byte(`<?xml version="1.0"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>`+secret+`</state></isComposing>`))
			}},
			{"Subject of typing", func() *sip.Draft {
				return alice.Request(sip.MESSAGE, "bob").Add(sip.HSubject, secret).Set(sip.HFrom, `"`+secret+`" <sip:alice@example.com>;tag=d`+Unique()).
					Body("application/im-iscomposing+xml", []byte(`<?xml version="1.0"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`))
			}},
			{"typing in CPIM with headers", func() *sip.Draft {
				return alice.Request(sip.MESSAGE, "bob").Body("message/cpim", []byte("From: \""+secret+"\" <sip:alice@example.com>\r\nTo: <sip:bob@example.com>\r\nSubject: "+secret+"\r\n\r\nContent-Type: application/im-iscomposing+xml\r\n\r\n"+
					`<?xml version="1.0"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`))
			}},
			{"plain text called typing", func() *sip.Draft {
				return alice.Request(sip.MESSAGE, "bob").Body("application/im-iscomposing+xml", []byte(secret))
			}},
			{"INFO outside a dialog", func() *sip.Draft { return alice.Request(sip.INFO, "bob").Body("text/plain", []byte(secret)) }},
			{"OPTIONS with a body", func() *sip.Draft { return alice.Request(sip.OPTIONS, "bob").Body("text/plain", []byte(secret)) }},
			{"Subject of OPTIONS", func() *sip.Draft { return alice.Request(sip.OPTIONS, "bob").Add(sip.HSubject, secret) }},
			{"REFER with a body", func() *sip.Draft {
				return alice.Request(sip.REFER, "bob").Add(sip.HReferTo, "<sip:carol@example.com>").Add(sip.HContact, alice.Contact).Body("text/plain", []byte(secret))
			}},
			{"Subject of REFER", func() *sip.Draft {
				return alice.Request(sip.REFER, "bob").Add(sip.HReferTo, "<sip:carol@example.com>").Add(sip.HContact, alice.Contact).Add(sip.HSubject, secret)
			}},
			{"NOTIFY outside a dialog", func() *sip.Draft {
				return alice.Request(sip.NOTIFY, "bob").Add(sip.HEvent, "refer").Add(sip.HSubscriptionState, "active").Body("message/sipfrag", []byte("SIP/2.0 200 "+secret))
			}},
			{"PUBLISH", func() *sip.Draft {
				return alice.Request(sip.PUBLISH, "bob").Add(sip.HEvent, "presence").Body("text/plain", []byte(secret))
			}},
			{"SUBSCRIBE with a body", func() *sip.Draft {
				return alice.Request(sip.SUBSCRIBE, "bob").Add(sip.HEvent, "reg").Add(sip.HContact, alice.Contact).Body("text/plain", []byte(secret))
			}},
			{"an unknown method", func() *sip.Draft { return alice.Request("WHISPER", "bob").Body("text/plain", []byte(secret)) }},
			{"INVITE with text", func() *sip.Draft {
				return alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("text/plain", []byte(secret))
			}},
			{"INVITE with HTML", func() *sip.Draft {
				return alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("text/html", []byte(secret))
			}},
			{"INVITE with text in a multipart", func() *sip.Draft {
				return alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("multipart/mixed;boundary=x",
					[]byte("--x\r\nContent-Type: application/sdp\r\n\r\n"+SDP("audio 4000 RTP/AVP 0")+"\r\n--x\r\nContent-Type: text/plain\r\n\r\n"+secret+"\r\n--x--\r\n"))
			}},
			{"INVITE with a preamble", func() *sip.Draft {
				return alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("multipart/mixed;boundary=x",
					[]byte(secret+"\r\n--x\r\nContent-Type: application/sdp\r\n\r\n"+SDP("audio 4000 RTP/AVP 0")+"\r\n--x--\r\n"))
			}},
			{"Subject of INVITE", func() *sip.Draft {
				return alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Add(sip.HSubject, secret)
			}},
		}
		for _, row := range outside {
			d := row.spoil()
			method := d.Method()
			before := recorded(s, secret)
			alice.Write(d.Bytes())
			arrived, answer := Either(alice, bob, method)
			if arrived != nil {
				status := 200
				if method == sip.INVITE {
					status = 486
				}
				bob.Reply(arrived, status)
				answer = alice.Wait("the answer", final)
			}
			if method == sip.INVITE {
				req, _ := d.Message() // our own
				alice.Write(ackFor(req, answer).Bytes())
				if arrived != nil {
					bob.Expect(sip.ACK)
				}
			}
			if arrived != nil && bytes.Contains(arrived.Bytes(), []byte(secret)) && recorded(s, secret) == before {
				t.Errorf("%s: bob got it, the log did not:\n%s", row.name, arrived.Bytes())
			}
		}

		// Inside a dialog, in both directions, and in responses.
		d := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
		alice.Write(d.Bytes())
		invite := bob.Expect(sip.INVITE)
		alice.Wait("100", func(m *sip.Message) bool { return m.Status() == 100 })
		for _, row := range []struct {
			name   string
			status int
			edit   func(*sip.Draft)
		}{
			{"180 with text", 180, func(d *sip.Draft) { d.Body("text/plain", []byte(secret)) }},
			{"183 with a Subject", 183, func(d *sip.Draft) { d.Add(sip.HSubject, secret) }},
			{"200 with text in a multipart", 200, func(d *sip.Draft) {
				d.Body("multipart/mixed;boundary=x", []byte("--x\r\nContent-Type: application/sdp\r\n\r\n"+SDP("audio 4000 RTP/AVP 0")+"\r\n--x\r\nContent-Type: text/plain\r\n\r\n"+secret+"\r\n--x--\r\n"))
			}},
		} {
			bob.Reply(invite, row.status, row.edit)
			want := row.status
			m := alice.Wait(row.name, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= want })
			if bytes.Contains(m.Bytes(), []byte(secret)) {
				t.Errorf("%s came through:\n%s", row.name, m.Bytes())
			}
			if row.status >= 200 && m.Status() >= 300 { // refused in the callee's name: the callee still thinks it is in a call
				req, _ := d.Message() // our own
				alice.Write(ackFor(req, m).Bytes())
			}
		}
		callerDlg, calleeDlg := newCall(t, alice, bob)
		for _, side := range []struct {
			from, to *UA
			dlg      *Dialog
		}{{alice, bob, callerDlg}, {bob, alice, calleeDlg}} {
			for _, row := range []struct {
				name, method string
				edit         func(*sip.Draft)
			}{
				{"INFO", sip.INFO, func(d *sip.Draft) { d.Body("text/plain", []byte(secret)) }},
				{"INFO as DTMF", sip.INFO, func(d *sip.Draft) { d.Body("application/dtmf-relay", []byte("Signal="+secret)) }},
				{"INFO as a hook flash", sip.INFO, func(d *sip.Draft) { d.Body("application/hook-flash", []byte(secret)) }},
				{"INFO as media control", sip.INFO, func(d *sip.Draft) { d.Body("application/media_control+xml", []byte("<x>"+secret+"</x>")) }},
				{"Subject of INFO", sip.INFO, func(d *sip.Draft) { d.Add(sip.HSubject, secret) }},
				{"UPDATE", sip.UPDATE, func(d *sip.Draft) { d.Add(sip.HContact, side.from.Contact).Body("text/plain", []byte(secret)) }},
				{"Subject of UPDATE", sip.UPDATE, func(d *sip.Draft) { d.Add(sip.HContact, side.from.Contact).Add(sip.HSubject, secret) }},
				{"re-INVITE", sip.INVITE, func(d *sip.Draft) { d.Add(sip.HContact, side.from.Contact).Body("text/plain", []byte(secret)) }},
				{"Subject of re-INVITE", sip.INVITE, func(d *sip.Draft) { d.Add(sip.HContact, side.from.Contact).Add(sip.HSubject, secret) }},
				{"OPTIONS", sip.OPTIONS, func(d *sip.Draft) { d.Body("text/plain", []byte(secret)) }},
				{"NOTIFY", sip.NOTIFY, func(d *sip.Draft) {
					d.Add(sip.HEvent, "refer").Add(sip.HSubscriptionState, "active").Body("text/plain", []byte(secret))
				}},
				{"NOTIFY as sipfrag", sip.NOTIFY, func(d *sip.Draft) {
					d.Add(sip.HEvent, "refer").Add(sip.HSubscriptionState, "active").Body("message/sipfrag", []byte(secret))
				}},
				{"PRACK", sip.PRACK, func(d *sip.Draft) { d.Add(sip.HRAck, "1 1 INVITE").Body("text/plain", []byte(secret)) }},
				{"SUBSCRIBE", sip.SUBSCRIBE, func(d *sip.Draft) {
					d.Add(sip.HEvent, "refer").Add(sip.HContact, side.from.Contact).Body("text/plain", []byte(secret))
				}},
				{"REFER", sip.REFER, func(d *sip.Draft) {
					d.Add(sip.HReferTo, "<sip:carol@example.com>").Add(sip.HContact, side.from.Contact).Body("text/plain", []byte(secret))
				}},
				{"MESSAGE", sip.MESSAGE, func(d *sip.Draft) { d.Body("text/plain", []byte(secret)) }},
				{"Subject of MESSAGE", sip.MESSAGE, func(d *sip.Draft) { d.Add(sip.HSubject, secret).Body("text/plain", []byte("x")) }},
			} {
				before := recorded(s, secret)
				d := side.from.InDialog(side.dlg, row.method)
				row.edit(d)
				side.from.Write(d.Bytes())
				arrived, answer := Either(side.from, side.to, row.method)
				if arrived != nil {
					status := 200
					if row.method == sip.INVITE {
						status = 488
					}
					side.to.Reply(arrived, status, func(d *sip.Draft) { d.Body("text/plain", []byte("answered: "+secret)) })
					answer = side.from.Wait("the answer", final)
				}
				if bytes.Contains(answer.Bytes(), []byte("answered: "+secret)) {
					t.Errorf("%s: the answer's text came through:\n%s", row.name, answer.Bytes())
				}
				if row.method == sip.INVITE {
					req, _ := d.Message() // our own
					side.from.Write(ackFor(req, answer).Bytes())
				}
				if arrived != nil && bytes.Contains(arrived.Bytes(), []byte(secret)) && recorded(s, secret) == before {
					t.Errorf("%s from %s: it arrived, the log does not have it:\n%s", row.name, side.from.Name, arrived.Bytes())
				}
			}
		}
		// ACK is not answered, so it can only lose what it carries. BYE ends the call.
		alice.Write(alice.InDialog(callerDlg, sip.BYE).Body("text/plain", []byte(secret)).Bytes())
		if m, _ := Either(alice, bob, sip.BYE); m != nil && bytes.Contains(m.Bytes(), []byte(secret)) {
			t.Errorf("BYE carried it:\n%s", m.Bytes())
		}
	})
}

// newCall sets a call up and returns both sides.
func newCall(t *testing.T, a, b *UA) (caller, callee *Dialog) {
	t.Helper()
	d := a.Request(sip.INVITE, b.User).Add(sip.HContact, a.Contact).Body("application/sdp", []byte(SDP("audio 4000 RTP/AVP 0")))
	a.Write(d.Bytes())
	invite := b.Expect(sip.INVITE)
	resp := b.Response(invite, 200, func(d *sip.Draft) { d.Body("application/sdp", []byte(SDP("audio 4001 RTP/AVP 0"))) })
	b.Write(resp.Bytes())
	ok := a.Final(d)
	if ok.Status() != 200 {
		t.Fatalf("the call: %s", Line(ok))
	}
	req, _ := d.Message()       // our own
	answer, _ := resp.Message() // our own
	caller, callee = DialogUAC(req, ok), DialogUAS(invite, answer)
	a.Write(a.InDialog(caller, sip.ACK).Bytes())
	b.Expect(sip.ACK)
	return caller, callee
}

// recorded counts alice's records that have a text anywhere.
func recorded(s *Server, text string) int {
	n := 0
	for _, r := range s.RecordsOf(AOR("alice"), "message", "receipt", "call.start", "call.text", "call.end") {
		found := bytes.Contains(r.Body, []byte(text))
		for _, v := range r.Meta {
			found = found || strings.Contains(v, text)
		}
		if found {
			n++
		}
	}
	return n
}
