package sip

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tortureMessages has a row for each of the 50 files of RFC 4475's archive: the section, and the status
// that the syntax alone asks for: 0 when the message is well-formed, however it is answered by the
// floors above. Malformed responses, and what nobody can answer, are dropped.
var tortureMessages = []struct {
	file, section string
	status        int
	drop          bool
}{
	{file: "wsinv", section: "3.1.1.1"},
	{file: "intmeth", section: "3.1.1.2"},
	{file: "esc01", section: "3.1.1.3"},
	{file: "escnull", section: "3.1.1.4"},
	{file: "esc02", section: "3.1.1.5"},
	{file: "lwsdisp", section: "3.1.1.6"},
	{file: "longreq", section: "3.1.1.7"},
	{file: "dblreq", section: "3.1.1.8"},
	{file: "semiuri", section: "3.1.1.9"},
	{file: "transports", section: "3.1.1.10"},
	{file: "mpart01", section: "3.1.1.11"},
	{file: "unreason", section: "3.1.1.12"},
	{file: "noreason", section: "3.1.1.13"},
	{file: "badinv01", section: "3.1.2.1", status: 400},
	{file: "clerr", section: "3.1.2.2", status: 400},
	{file: "ncl", section: "3.1.2.3", status: 400},
	{file: "scalar02", section: "3.1.2.4", status: 400},
	{file: "scalarlg", section: "3.1.2.5", status: 400, drop: true},
	{file: "quotbal", section: "3.1.2.6", status: 400},
	{file: "ltgtruri", section: "3.1.2.7", status: 400},
	{file: "lwsruri", section: "3.1.2.8", status: 400},
	{file: "lwsstart", section: "3.1.2.9", status: 400},
	{file: "trws", section: "3.1.2.10", status: 400},
	{file: "escruri", section: "3.1.2.11", status: 400},
	{file: "baddate", section: "3.1.2.12"}, // "an element shouldn't" refuse a Date that it does not need
	{file: "regbadct", section: "3.1.2.13", status: 400},
	{file: "badaspec", section: "3.1.2.14", status: 400},
	{file: "baddn", section: "3.1.2.15", status: 400},
	{file: "badvers", section: "3.1.2.16", status: 505},
	{file: "mismatch01", section: "3.1.2.17", status: 400},
	{file: "mismatch02", section: "3.1.2.18", status: 501},
	{file: "bigcode", section: "3.1.2.19", status: 400, drop: true},
	{file: "badbranch", section: "3.2.1", status: 400},
	{file: "insuf", section: "3.3.1", status: 400},
	{file: "unkscm", section: "3.3.2", status: 416},
	{file: "novelsc", section: "3.3.3", status: 416},
	{file: "unksm2", section: "3.3.4"}, // 400 from a registrar
	{file: "bext01", section: "3.3.5"}, // 420
	{file: "invut", section: "3.3.6"},  // 415 from an endpoint
	{file: "regaut01", section: "3.3.7"},
	{file: "multi01", section: "3.3.8", status: 400},
	{file: "mcl01", section: "3.3.9", status: 400},
	{file: "bcast", section: "3.3.10"},  // a proxy drops it, as its top Via is not the proxy's
	{file: "zeromf", section: "3.3.11"}, // 483
	{file: "cparam01", section: "3.3.12"},
	{file: "cparam02", section: "3.3.13"},
	{file: "regescrt", section: "3.3.14"},
	{file: "sdp01", section: "3.3.15"}, // 406 from an endpoint
	{file: "inv2543", section: "3.4.1"},
	{file: "test", section: "A.1", status: 400, drop: true}, // in the archive only: no version, no Via
}

func TestRFC4475(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil || len(files) != 50 || len(tortureMessages) != 50 {
		t.Fatalf("%d files, %d rows, %v; want 50", len(files), len(tortureMessages), err)
	}
	for _, row := range tortureMessages {
		t.Run(row.file, func(t *testing.T) {
			data, err := os.ReadFile("testdata/rfc4475/" + row.file + ".dat")
			if err != nil {
				t.Fatal(err)
			}
			checkVerdict(t, data, row.status, row.drop)
		})
	}
}

// checkVerdict parses and checks data and compares what is to be answered; of what is answered it makes the response.
func checkVerdict(t *testing.T, data []byte, status int, drop bool) {
	t.Helper()
	m, _ := Parse(data)
	e := Check(m)
	got := 0
	if e != nil {
		got = e.Status
	}
	if got != status {
		t.Fatalf("Check = %v, want status %d", e, status)
	}
	if status == 0 {
		out := reparse(t, m.Edit())
		sameHeaderValues(t, m, out)
		return
	}
	if m.Answerable() == drop {
		t.Fatalf("Answerable = %v", !drop)
	}
	if drop {
		return
	}
	resp, err := Parse(NewResponse(m, e.Status, e.Reason).Bytes())
	if resp.Status() != status || resp.Reason() != e.Reason || len(resp.Body()) != 0 {
		t.Errorf("response %d %q with %d bytes", resp.Status(), resp.Reason(), len(resp.Body()))
	}
	if err != nil && m.Err() == nil {
		t.Errorf("response does not parse: %v", err)
	}
	if resp.Count(HVia) != m.Count(HVia) || resp.Get(HVia) != m.Get(HVia) {
		t.Errorf("Via %q, want %q", resp.Get(HVia), m.Get(HVia))
	}
	for _, id := range []HeaderID{HFrom, HTo, HCallID, HCSeq} {
		if resp.Get(id) != m.Get(id) || resp.Count(id) > 1 {
			t.Errorf("%v %q ×%d, want %q", id, resp.Get(id), resp.Count(id), m.Get(id))
		}
	}
}

// TestRFC4475Values looks at the values that the sections speak of.
func TestRFC4475Values(t *testing.T) {
	load := func(name string) *Message {
		t.Helper()
		data, err := os.ReadFile("testdata/rfc4475/" + name + ".dat")
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return m
	}
	equal := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %q, want %q", what, got, want)
		}
	}

	m := load("wsinv")
	equal("To tag", m.ToTag(), "1918181833n")
	equal("From tag", m.FromTag(), "98asjd8")
	from, _ := m.From()
	equal("From name", from.Display, `J Rosenberg \"`)
	equal("From", from.URI.String(), "sip:jdrosen@example.com")
	if n, ok := m.Int(HMaxForwards); n != 68 || !ok {
		t.Errorf("Max-Forwards = %d, %v", n, ok)
	}
	if c, err := m.CSeq(); c != (CSeq{9, INVITE}) || err != nil {
		t.Errorf("CSeq = %v, %v", c, err)
	}
	var vias []string
	for s := range m.Values(HVia) {
		v, err := ParseVia(s)
		if err != nil {
			t.Fatal(err)
		}
		vias = append(vias, v.Transport+" "+v.Host+" "+v.Branch())
	}
	equal("Vias", strings.Join(vias, "|"), "UDP 192.0.2.2 390skdjuw|TCP spindle.example.com z9hG4bK9ikj8|UDP 192.168.255.111 z9hG4bK30239")
	equal("Subject", m.Get(HSubject), "")
	equal("NewFangledHeader", m.GetName("newfangledheader"), "newfangled value continued newfangled value")
	equal("UnknownHeaderWithUnusualValue", m.GetName("UnknownHeaderWithUnusualValue"), ";;,,;;,;")
	contacts, star, err := m.Contacts()
	if err != nil || star || len(contacts) != 1 {
		t.Fatalf("Contacts = %v, %v, %v", contacts, star, err)
	}
	equal("Contact name", contacts[0].Display, `Quoted string ""`)
	q, _ := contacts[0].Params.Get("q")
	equal("q", q, "0.33")
	newparam, _ := contacts[0].Params.Get("newparam")
	equal("newparam", newparam, "newvalue")
	if len(m.Body()) != 150 {
		t.Errorf("body of %d bytes", len(m.Body()))
	}

	m = load("intmeth")
	equal("method", m.Method(), "!interesting-Method0123456789_*+`.%indeed'~")
	u, err := m.URI()
	if err != nil {
		t.Fatal(err)
	}
	equal("user", u.User, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
	equal("password", u.Password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
	to, _ := m.To()
	equal("To name", to.Display, "BEL:\a NUL:\x00 DEL:\x7f")
	from, _ = m.From()
	equal("From name", from.Display, "token1~` token2'+_ token3*%!.-")
	equal("From tag", from.Tag(), "_token~1'+`*%!-.")
	value, _ := from.Params.Get("fromParam''~+*_!.-%")
	equal("fromParam", value, "работающий")
	equal("unknown header", m.GetName("extensionHeader-!.%*+_`'~"), "\ufeff大停電")

	m = load("esc01")
	u, _ = m.URI()
	equal("user", Unescape(u.User), "sips:user@example.com")
	to, _ = m.To()
	if other, _ := ParseURI("sip:user@example.com"); !to.URI.Equal(other) || to.URI.AOR() != "user@example.com" {
		t.Errorf("To %v is not %v, AOR %q", to.URI, other, to.URI.AOR())
	}
	contacts, _, _ = m.Contacts()
	if a, _ := ParseURI("sip:caller@host5.example.net;lr;name=value%2541"); !contacts[0].URI.Equal(a) {
		t.Errorf("%v is not %v", contacts[0].URI, a)
	}
	if a, _ := ParseURI("sip:caller@host5.example.net;lr;name=valueA"); contacts[0].URI.Equal(a) {
		t.Errorf("%v is %v", contacts[0].URI, a)
	}

	m = load("escnull")
	to, _ = m.To()
	equal("AOR", to.URI.AOR(), "null-%00-null@example.com")
	contacts, _, _ = m.Contacts()
	if len(contacts) != 2 || contacts[0].URI.Equal(contacts[1].URI) {
		t.Errorf("Contacts %v", contacts)
	}

	m = load("esc02")
	to, _ = m.To()
	equal("To name", to.Display, "%Z%45")
	if contacts, _, _ = m.Contacts(); len(contacts) != 2 {
		t.Errorf("Contacts %v", contacts)
	}

	m = load("longreq")
	if n := m.Count(HVia); n != 34 {
		t.Errorf("%d Vias", n)
	}
	if !strings.HasPrefix(m.FromTag(), "12982982") {
		t.Errorf("From tag %q", m.FromTag())
	}

	m = load("dblreq")
	if len(m.Body()) != 0 || strings.Contains(string(m.Bytes()), "INVITE") {
		t.Errorf("the octets behind the request are still there: %q", m.Bytes())
	}

	m = load("semiuri")
	u, _ = m.URI()
	equal("user", Unescape(u.User), "user;par=u@example.net")

	m = load("mpart01")
	mediaType, params := m.ContentType()
	boundary, _ := params.Get("boundary")
	equal("Content-Type", mediaType+" "+boundary, "multipart/mixed 7a9cbec02ceef655")
	if len(m.Body()) != 553 || m.Body()[len(m.Body())-3] != '-' {
		t.Errorf("body of %d bytes", len(m.Body()))
	}

	m = load("unreason")
	equal("reason", m.Reason(), "= 2**3 * 5**2 но сто девяносто девять - простое")
	m = load("noreason")
	if m.Status() != 100 || m.Reason() != "" {
		t.Errorf("%d %q", m.Status(), m.Reason())
	}

	m = load("cparam01")
	contacts, _, _ = m.Contacts()
	if !contacts[0].Params.Has("unknownparam") || contacts[0].URI.Params != "" {
		t.Errorf("Contact %+v", contacts[0])
	}
	m = load("cparam02")
	contacts, _, _ = m.Contacts()
	if contacts[0].Params != "" || !contacts[0].URI.Params.Has("unknownparam") {
		t.Errorf("Contact %+v", contacts[0])
	}
	m = load("regescrt")
	contacts, _, _ = m.Contacts()
	equal("URI headers", contacts[0].URI.Headers, "Route=%3Csip:sip.example.com%3E")
}

// TestRFC5118 reads the 12 messages with IPv6 addresses.
func TestRFC5118(t *testing.T) {
	for _, row := range []struct {
		file, section string
		status        int
	}{
		{"ipv6-good", "4.1", 0},
		{"ipv6-bad", "4.2", 400},
		{"port-ambiguous", "4.3", 0},
		{"port-unambiguous", "4.4", 0},
		{"via-received-param-with-delim", "4.5", 0},
		{"via-received-param-no-delim", "4.5", 0},
		{"ipv6-in-sdp", "4.6", 0},
		{"mult-ip-in-header", "4.7", 0},
		{"mult-ip-in-sdp", "4.8", 0},
		{"ipv4-mapped-ipv6", "4.9", 0},
		{"ipv6-bug-abnf-3-colons", "4.10", 0},
		{"ipv6-correct-abnf-2-colons", "4.10", 0},
	} {
		t.Run(row.file, func(t *testing.T) {
			data, err := os.ReadFile("testdata/rfc5118/" + row.file)
			if err != nil {
				t.Fatal(err)
			}
			data = wireForm(data)
			m, _ := Parse(bytes.Clone(data))
			u, _ := m.URI()
			via, _ := m.TopVia()
			switch row.file {
			case "port-ambiguous":
				if u.Host != "[2001:db8::10:5070]" || u.Port != 0 {
					t.Errorf("URI %+v", u)
				}
			case "port-unambiguous":
				if u.Host != "[2001:db8::10]" || u.Port != 5070 {
					t.Errorf("URI %+v", u)
				}
			case "via-received-param-with-delim", "via-received-param-no-delim":
				if via.Received().String() != "2001:db8::9:255" {
					t.Errorf("received %v", via.Received())
				}
			case "ipv4-mapped-ipv6":
				if via.Port != 19823 || via.Host != "[::ffff:192.0.2.10]" {
					t.Errorf("Via %+v", via)
				}
			case "ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons":
				if a, ok := u.Addr(); !ok || a.String() != "2001:db8::c000:201" {
					t.Errorf("Addr %v, %v", a, ok)
				}
			}
			checkVerdict(t, data, row.status, false)
		})
	}
}

// wireForm mends what RFC 5118's archive lost: its files have bare LFs, two lack the empty line, and the
// lengths of the bodies are those of another edition.
func wireForm(data []byte) []byte {
	text := strings.ReplaceAll(string(data), "\n", "\r\n")
	head, body, ok := strings.Cut(text, "\r\n\r\n")
	if !ok {
		head = strings.TrimSuffix(head, "\r\n")
	}
	i := strings.Index(head, "Content-Length: ") + len("Content-Length: ")
	return fmt.Appendf(nil, "%s%d\r\n\r\n%s", head[:i], len(body), body)
}

func reparse(t *testing.T, d *Draft) *Message {
	t.Helper()
	m, err := d.Message()
	if err != nil {
		t.Fatalf("draft does not parse: %v\n%s", err, d.Bytes())
	}
	return m
}

// sameHeaderValues compares the rows of two messages but for Content-Length.
func sameHeaderValues(t *testing.T, a, b *Message) {
	t.Helper()
	if x, y := rowsOf(a), rowsOf(b); x != y {
		t.Errorf("headers differ:\n%s\n---\n%s", x, y)
	}
	if string(a.Body()) != string(b.Body()) {
		t.Errorf("body %q, want %q", b.Body(), a.Body())
	}
}

func rowsOf(m *Message) string {
	var b strings.Builder
	for name, h := range m.Headers() {
		switch h.ID {
		case HContentLength:
			continue
		case HOther:
			b.WriteString(name)
		}
		b.WriteString(h.ID.String() + "=" + h.Value + "\n")
	}
	return b.String()
}
