package sip

import (
	"strings"
	"testing"
)

// TestCheckRefuses: rows and start lines that must be answered with 400.
func TestCheckRefuses(t *testing.T) {
	for _, row := range []string{
		// Twins of headers that decide something.
		"To: <sip:bob@example.com>;tag=", "t: <sip:bob@example.com>", "TO : <sip:bob@example.com>;tag=2", "From: <sip:a@h>;tag=1", "f: <sip:a@h>;tag=1",
		"i: c2", "CSeq: 1 OPTIONS", "cseq\t: 2 OPTIONS", "Max-Forwards: 70", "Content-Type: a/b\r\nc: a/b", "Content-Length: 0\r\nl: 0", "Expires: 1\r\nexpires: 2", "Event: presence\r\no: reg",
		"Refer-To: <sip:a@h>\r\nr: <sip:a@h>", "Replaces: a;to-tag=1;from-tag=2\r\nReplaces: a;to-tag=1;from-tag=2", "Subject: a\r\ns: b", "Session-Expires: 90\r\nx: 90",
		// Via (hostile.md 2)
		"Via:", "Via: ", "v: SIP/2.0/UDP", "v: SIP/2.0/UDP ;branch=z9hG4bK1", "v: SIP/2.0/UDP \x7f;branch=z9hG4bK1", "v: SIP/2.0/UDP a,", "v: ,SIP/2.0/UDP a", "v: SIP/2.0/UDP a;branch=z9hG4bK", "v: SIP/2.0/UDP a;branch=Z9HG4BK",
		"v: SIP/2.0/UDP a;branch=a;branch=b", "v: SIP/2.0/UDP a;rport=1;rport", "v: SIP/2.0/UDP a;rport=65536", "v: SIP/2.0/UDP a;rport=x", "v: SIP/2.0/UDP a;received=x", "v: SIP/2.0/UDP a;received=[1.2.3.4]", "v: SIP/2.0/UDP a;received=1.2.3.4;received=1.2.3.5",
		"v: SIP/2.0/UDP a;maddr=-", "v: SIP/2.0/UDP a;ttl=256", "v: SIP/2.0/UDP a;ttl", "v: SIP/2.0/UDP a;branch=\"a b\"", "v: SIP/2.0/UDP a" + strings.Repeat(";", 300),
		// Numbers (hostile.md 5)
		"Expires: 4294967296", "Min-Expires: 99999999999999999999", "Session-Expires: 4294967296;refresher=uac", "Min-SE: -1", "RSeq: 4294967296", "RAck: 1 4294967296 INVITE", "RAck: 4294967296 1 INVITE", "RAck: 1 1", "Max-Breadth: x", "Flow-Timer: 1.5", "Retry-After: 4294967296", "Retry-After: 5 (never", "Timestamp: x", "Timestamp: 1.2.3", "MIME-Version: 1",
		// Tokens and lists
		"Require: a b", "Require:", "Proxy-Require: ,", "Supported: a,,b", "Supported: \"a\"", "Allow: INV ITE", "Allow-Events: presence;x=", "Unsupported: <a>", "Content-Encoding: ;", "Content-Language: a b", "Priority: a b", "SIP-If-Match: a,b", "SIP-ETag:", "Event: a b", "Event: ;id=1", "Subscription-State: active;expires", "o: presence;;id=1",
		"Content-Type: text", "Content-Type: text/", "Content-Type: /plain", "Content-Type: text/plain;", "Content-Type: text/plain;charset", "Content-Type: text/plain;charset=\"x", "Content-Type: text/plain, text/html", "Content-Type:", "Accept: text", "Accept: */*;q=", "Content-Disposition: ;handling=x", "Reason: SIP ;cause=", "Info-Package: a b", "Recv-Info: a b",
		// Addresses
		"Route: sip:a@h;lr", "Route: <sip:a@h", "Route: <sip:a@h>,", "Record-Route: x", "Path: <sip:>", "Service-Route: <sip:a@h>,,<sip:b@h>", "Refer-To: <sip:a@h", "Referred-By: %", "Reply-To: a b", "Refer-To: sip:a@h?Replaces=x",
		"Accept-Contact: *x", "Accept-Contact: ;a", "Call-Info: http://x", "Call-Info: <http://x", "Alert-Info: <>", "In-Reply-To: a,,b", "Replaces: ;to-tag=1", "Replaces: a;to-tag=1;to-tag=2", "Join: a b", "Target-Dialog: a;local-tag=1;local-tag=2", "Request-Disposition: a b",
		"Authorization: Digest", "Authorization:", "Authorization: Digest username=\"a", "Authorization: Digest username=\"a\" realm=\"b\"", "Authorization: Digest username=\"a\",username=\"a\"", "Authorization: Digest nc=1,NC=2", "Proxy-Authorization: Digest =x", "Proxy-Authorization: Digest a=,b=c", "Authorization: Digest username=\"a\",", "Authentication-Info: x", "WWW-Authenticate: Digest realm",
		"Warning: 399 a", "Warning: 1812 overture \"In Progress\"", "Warning: 399 a b \"c\"", "Warning: 399 a \"c", "Warning: 399 a \"c\" x",
		// Bytes that no header may hold
		"Subject: a\x00b", "Subject: a\x1bb", "X-Unknown: a\x7fb", "X-Unknown: \xff", "Subject: \xc3", "X: a\x08", "P-Asserted-Identity: \x01",
		// Rows that are none
		"no colon", ": no name", " : no name", "Na me: x", "N\xc3me: x", "N(me): x", "\x00: x", "Subject\x00: x", "Subject;: x",
		// Bare line ends
		"Subject: a\nP-Asserted-Identity: <sip:root@h>", "Subject: a\rP-Asserted-Identity: <sip:root@h>", "Subject: a\n b", "Subject: a\r", "Subject: a\r\n b\n c", "Subject: a\r\r\n b", "\nSubject: a",
	} {
		text := request(row)
		m, _ := Parse([]byte(text))
		e := Check(m)
		if e == nil || e.Status != 400 || e.Reason == "" || e.Error() == "" {
			t.Errorf("%q: Check = %v", row, e)
			continue
		}
		if !m.Answerable() {
			t.Errorf("%q: not answerable", row)
			continue
		}
		resp, err := Parse(NewResponse(m, e.Status, e.Reason).Bytes())
		if err != nil && !strings.HasPrefix(row, "v:") && !strings.HasPrefix(row, "Via:") {
			t.Errorf("%q: response: %v\n%q", row, err, resp.Bytes())
		}
		if strings.ContainsAny(e.Reason, "\r\n\x00") {
			t.Errorf("%q: reason %q", row, e.Reason)
		}
	}
}

// TestCheckAccepts: rows that look odd and are right.
func TestCheckAccepts(t *testing.T) {
	for _, row := range []string{
		"Subject:", "Supported:", "Allow:", "Accept:", "Accept-Encoding:", "Organization:", "Subject: \t ", "Accept: */*, text/*;q=0.3, text/html;level=1", "Accept-Language: da, en-gb;q=0.8, en;q=0.7, *", "Accept-Encoding: gzip;q=1, *",
		"Subject: Привет, \"мир", "X-Unknown: ;;,,\"(<", "Date: whenever", "P-Asserted-Identity: x", "P-Asserted-Identity : x", "Identity: abc=", "User-Agent: a (b; c) /d", "Server: x", "Server: a\r\nServer: b",
		"Via: SIP/2.0/SCTP [::1]:5060;branch=z9hG4bK2;rport=5060;received=2001:db8::1;maddr=[::1];ttl=1", "Via: SIP/2.0/UDP h;branch=1",
		"Route: <sip:a@h;lr>;x=y , \"B\" <sips:[::1]>", "Contact: sip:a@h;q=1.0;expires=5", "Contact: <tel:+1>", "Contact: <urn:x:y>", "Refer-To: <sip:a@h?Replaces=x%3Bto-tag%3Dy>", "Refer-To: <cid:1@h>",
		"Accept-Contact: *;+sip.instance=\"<urn:uuid:1>\";require;explicit", "Accept-Contact: <sip:a@h>;x, *;methods=\"INVITE\"", "Request-Disposition: no-fork, parallel", "Call-Info: <http://x/y>;purpose=icon, <https://z>", "In-Reply-To: a@b, c",
		"Retry-After: 18000;duration=3600", "Retry-After: 120 (I'm (in) a meeting)", "Timestamp: 54", "Timestamp: 5.4 0.1", "Timestamp: 5.", "MIME-Version: 1.0", "Expires: 0", "Session-Expires: 1800;refresher=uas", "RAck: 776656 1 INVITE",
		"Warning: 307 isi.edu \"Session parameter 'foo' not understood\", 301 [::1]:5060 \"x\"", "Reason: SIP ;cause=200 ;text=\"Call completed elsewhere\", Q.850;cause=16", "Event: presence.winfo;id=1", "Subscription-State: terminated;reason=timeout",
		"Authorization: Basic YWxpY2U6cHc=", "Authorization: NoOneKnowsThisScheme opaque-data=here", "Authorization: Digest username=\"a\", realm=\"b\" , nonce=\"c\",uri=\"sip:h\",response=\"d\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"e\",opaque=\"\"",
		"Authorization: Digest username=\"a\",realm=\"x\"\r\nAuthorization: Digest username=\"a\",realm=\"y\"", "WWW-Authenticate: Digest realm=\"a\", domain=\"sip:b\", nonce=\"c\", stale=FALSE, qop=\"auth,auth-int\"", "Authentication-Info: nextnonce=\"47364c23432d2e131a5fb210812c\"",
		"Replaces: 98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff", "Content-Disposition: session;handling=optional", "Content-Type: multipart/mixed; boundary=\"a b\"", "Content-Encoding: gzip, deflate", "k: a\r\nSupported: b", "Priority: emergency", "Privacy: id;critical", "Reply-To: Bob <sip:bob@biloxi.com>", "Alert-Info: <http://www.example.com/sounds/moo.wav>",
		"Recv-Info:", "Info-Package: foo;x=y", "C%6Fntact: x",
	} {
		m, _ := Parse([]byte(request(row)))
		if e := Check(m); e != nil {
			t.Errorf("%q: Check = %v", row, e)
		}
	}
}

// TestStartLines: what a request line or a status line may be.
func TestStartLines(t *testing.T) {
	rest := strings.SplitN(request(), "\r\n", 2)[1]
	for _, row := range []struct {
		line       string
		status     int
		answerable bool
	}{
		{"OPTIONS sip:bob@example.com sip/2.0", 0, true},
		{"OPTIONS tel:+12015550123 SIP/2.0", 0, true},
		{"OPTIONS im:bob@example.com SIP/2.0", 0, true},
		{"OPTIONS pres:bob@example.com SIP/2.0", 0, true},
		{"OPTIONS sip:bob@[2001:db8::1]:5060;lr SIP/2.0", 0, true},
		{"OPTIONS sip:bob@example.com SIP/3.0", 505, true},
		{"OPTIONS sip:bob@example.com SIP/2.1", 505, true},
		{"OPTIONS sip:bob@example.com SIP/20.00", 505, true},
		{"OPTIONS http://example.com/ SIP/2.0", 416, true},
		{"OPTIONS mailto:bob@example.com SIP/2.0", 416, true},
		{"OPTIONS sip:bob@example.com?a=b SIP/2.0", 400, true},
		{"OPTIONS sip:bob@example.com HTTP/1.1", 400, true},
		{"OPTIONS sip:bob@example.com", 400, true},
		{"OPTIONS  SIP/2.0", 400, true},
		{"OPTIONS SIP/2.0", 400, true},
		{"OPTIONS * SIP/2.0", 400, true},
		{"OPTIONS sip:bob@example.com  SIP/2.0", 400, true},
		{"OPTIONS sip:bob@example.com SIP/2.0 ", 400, true},
		{"OPTIONS\tsip:bob@example.com\tSIP/2.0", 400, false},
		{"OPTIONS sip:bob@exam\tple.com SIP/2.0", 400, true},
		{"OPTIONS sip:bob@example.com SIP/", 400, true},
		{"OPTIONS sip:bob@example.com SIP/2", 400, true},
		{"OPTIONS sip:bob@example.com SIP/2.", 400, true},
		{"OPTIONS sip:bob@example.com SIP/x.y", 400, true},
		{"OPTIONS <sip:bob@example.com> SIP/2.0", 400, true},
		{"OPTIONS sip:b\x00b@example.com SIP/2.0", 400, true},
		{"OPTIONS sip:bob@example.com;lr;lr SIP/2.0", 400, true},
		{"options sip:bob@example.com SIP/2.0", 501, true}, // methods are case-sensitive: nobody knows this one
		{"NEW sip:bob@example.com SIP/2.0", 501, true},
		{"INVITE sip:bob@example.com SIP/2.0", 400, true}, // CSeq says OPTIONS
		{"ACK sip:bob@example.com SIP/2.0", 400, false},
		{" OPTIONS sip:bob@example.com SIP/2.0", 400, false},
		{"OPT\xffIONS sip:bob@example.com SIP/2.0", 400, false},
		{"(x) sip:bob@example.com SIP/2.0", 400, false},
		{"", 400, false},
		{"SIP/2.0 200 OK", 0, false},
		{"SIP/2.0 200 ", 0, false},
		{"SIP/2.0 200", 0, false},
		{"sip/2.0 699 x", 0, false},
		{"SIP/2.0 200  two  spaces ", 0, false},
		{"SIP/2.0 099 x", 400, false},
		{"SIP/2.0 700 x", 400, false},
		{"SIP/2.0 20 x", 400, false},
		{"SIP/2.0 2000 x", 400, false},
		{"SIP/2.0 2x0 x", 400, false},
		{"SIP/2.0  200 x", 400, false},
		{"SIP/2.0", 400, false},
		{"SIP/3.0 200 OK", 505, false},
		{"SIP/2.0 200 a\x01b", 400, false},
		{"SIP/2.0 200 \xff", 400, false},
	} {
		m, _ := Parse([]byte(row.line + "\r\n" + rest))
		status := 0
		if e := Check(m); e != nil {
			status = e.Status
		}
		if status != row.status || m.Answerable() != row.answerable {
			t.Errorf("%q: %v, answerable %v", row.line, Check(m), m.Answerable())
		}
	}
}

// TestLongValues tries every length around the boundaries in tags and branches (hostile.md 3): each is read whole or
// refused, and can be answered.
func TestLongValues(t *testing.T) {
	for _, around := range []int{128, 256, 512, 1024, 2048, 4096, DefaultLine} {
		for n := around - 70; n < around+4; n++ {
			long := strings.Repeat("a", n)
			text := strings.Replace(request(), ";tag=1", ";tag="+long, 1)
			m, err := Parse([]byte(text))
			if tooLong := len("From: <sip:alice@example.com>;tag=")+n > DefaultLine; tooLong != (err != nil) || m.FromTag() != long || !m.Answerable() {
				t.Fatalf("tag of %d bytes: %v, %d", n, err, len(m.FromTag()))
			}
			text = strings.Replace(request(), "z9hG4bK1", "z9hG4bK"+long, 1)
			m, err = Parse([]byte(text))
			via, viaErr := m.TopVia()
			if tooLong := len("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK")+n > DefaultLine; tooLong != (err != nil) || viaErr != nil || via.Branch() != "z9hG4bK"+long {
				t.Fatalf("branch of %d bytes: %v, %v", n, err, viaErr)
			}
		}
	}
}

// TestCutAnywhere cuts and pokes a message at every byte: no panic, and never a good verdict for a cut header.
func TestCutAnywhere(t *testing.T) {
	for i := range len(typical) {
		m, _ := Parse([]byte(typical[:i]))
		if Check(m) == nil {
			t.Errorf("cut at %d is good", i)
		}
		_ = m.Edit().Bytes()
		_ = NewResponse(m, 400, "").Bytes()
		for _, c := range []byte{0, '\r', '\n', '"', '<', ',', ';', ':', ' ', 0xff} {
			b := []byte(typical)
			b[i] = c
			m, _ := Parse(b)
			Check(m)
			_ = m.Edit().Prepend(HVia, "x").RemoveFirst(HVia).Bytes()
		}
	}
}

// TestTrusted: every spelling of a header that the floors above strip is that header (hostile.md 4).
func TestTrusted(t *testing.T) {
	for _, row := range []string{
		"P-Asserted-Identity: <sip:root@h>", "P-Asserted-Identity : <sip:root@h>", "p-asserted-identity:<sip:root@h>", "P-ASSERTED-IDENTITY \t : <sip:root@h>", "P-Asserted-Identity:\r\n <sip:root@h>", "P-Asserted-Identity :\r\n\t<sip:root@h>\r\n ",
	} {
		m := mustParse(t, request(row, "P-Asserted-Identity: <tel:+1>", "Remote-Party-ID: x"))
		if m.Count(HPAssertedIdentity) != 2 || m.Get(HPAssertedIdentity) != "<sip:root@h>" {
			t.Errorf("%q: %d, %q", row, m.Count(HPAssertedIdentity), m.Get(HPAssertedIdentity))
		}
		out := string(m.Edit().Remove(HPAssertedIdentity).Remove(HRemotePartyID).Bytes())
		if strings.Contains(strings.ToLower(out), "asserted") || strings.Contains(out, "root") || strings.Contains(out, "Remote-Party") {
			t.Errorf("%q survives:\n%s", row, out)
		}
		mustParse(t, out)
	}
	// What is not the header's name is refused, so that nobody behind us can take it for one.
	for _, row := range []string{"P-Asserted-Identity\x00: x", "P-Asserted-Identity\x0b: x", "P-Asserted-Identity\r: x", "\tP-Asserted-Identity: x\x00", "P-Asserted- Identity: x", "P-Asserted-Identity;: x"} {
		m, _ := Parse([]byte(request(row)))
		if e := Check(m); e == nil && strings.Contains(string(m.Edit().Remove(HPAssertedIdentity).Bytes()), "Asserted") && !strings.HasPrefix(row, "\t") {
			t.Errorf("%q passes", row)
		}
	}
}

// TestCleanText puts each byte at each place of a text around the eight bytes that are looked at together.
func TestCleanText(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				b := []byte(strings.Repeat("x", n))
				b[at] = byte(c)
				want := c >= ' ' && c < 0x7f || c == '\t'
				if got := cleanText(string(b)); got != want {
					t.Fatalf("cleanText(%q) = %v", b, got)
				}
			}
		}
	}
	if !cleanText("0123456789 Привет, \\\x00 мир") || cleanText("01234567 Привет\xd0") || cleanText("0123456\\\n") {
		t.Error("UTF-8 or quoted pairs")
	}
}
