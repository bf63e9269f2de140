package sip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// request makes an OPTIONS with the rows given, which come after the mandatory ones.
func request(rows ...string) string {
	return "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\n" +
		"To: <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n" +
		strings.Join(append(rows, ""), "\r\n") + "\r\n"
}

func mustParse(t testing.TB, text string) *Message {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m
}

func TestLookupHeader(t *testing.T) {
	compact := 0
	for id := HOther + 1; id < numHeaders; id++ {
		name := id.String()
		if name == "" {
			t.Fatalf("header %d has no name", id)
		}
		for _, s := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := LookupHeader(s); got != id {
				t.Errorf("LookupHeader(%q) = %v", s, got)
			}
		}
		if c := headerNames[id].compact; c != 0 {
			compact++
			for _, s := range []string{string(c), strings.ToUpper(string(c))} {
				if got := LookupHeader(s); got != id {
					t.Errorf("LookupHeader(%q) = %v, want %v", s, got, id)
				}
			}
		}
	}
	// The registered compact forms: RFC 3261 §20 (10), RFC 6665 (2), 3515, 3892, 3841 (3), 4028, 4474 (2).
	if compact != 20 {
		t.Errorf("%d compact forms, want 20", compact)
	}
	for _, s := range []string{"", "q", "@", "V ", "Viaa", "Vi", "X-Unknown", "C%6Fntact", "To:", "\x16", "Call\rID", "Call\x0dID", "T\x4f\x00"} {
		if got := LookupHeader(s); got != HOther {
			t.Errorf("LookupHeader(%q) = %v", s, got)
		}
	}
	if HeaderID(255).String() != "" || HOther.String() != "" {
		t.Error("an unknown id has a name")
	}
}

// TestSpellings: the parsed result is the same whatever the spelling of a row.
func TestSpellings(t *testing.T) {
	for id := HOther + 1; id < numHeaders; id++ {
		if isSingle(id) && strings.Contains(request(), id.String()+":") || id == HVia || id == HContentLength {
			continue
		}
		name := id.String()
		names := []string{name, strings.ToUpper(name), strings.ToLower(name)}
		if c := headerNames[id].compact; c != 0 {
			names = append(names, string(c), strings.ToUpper(string(c)))
		}
		for _, name := range names {
			for _, row := range []string{
				name + ": a b;c=d", name + ":a b;c=d", name + " : a b;c=d", name + "\t:\ta b;c=d\t ", name + " \t :  a b;c=d  ",
				name + ":\r\n a b;c=d", name + ": a\r\n b;c=d", name + ":\r\n\ta  \r\n\t  b;c=d", name + " :\r\n a\r\n \r\n b;c=d\r\n ",
			} {
				m := mustParse(t, request("X-Before: 1", row, "X-After: 2"))
				if got := m.Get(id); got != "a b;c=d" || !m.Has(id) || m.Count(id) != 1 {
					t.Errorf("%q: Get = %q, Count = %d", row, got, m.Count(id))
				}
				if m.GetName(name) != "a b;c=d" || m.GetName("x-before") != "1" || m.GetName("X-AFTER") != "2" {
					t.Errorf("%q: GetName = %q, %q, %q", row, m.GetName(name), m.GetName("x-before"), m.GetName("X-AFTER"))
				}
				if reparse(t, m.Edit().Remove(id)).Has(id) || strings.Contains(string(m.Edit().RemoveName(name).Bytes()), "c=d") {
					t.Errorf("%q survives Remove", row)
				}
			}
		}
	}
}

// TestMandatorySpellings folds and spells the headers without which nothing goes.
func TestMandatorySpellings(t *testing.T) {
	m := mustParse(t, "OPTIONS sip:bob@example.com SIP/2.0\r\nv :\r\n SIP / 2.0\r\n / UDP 192.0.2.1 ;branch\r\n\t= z9hG4bK1 , SIP/2.0/TCP b;branch=z9hG4bK2\r\n"+
		"V: SIP/2.0/TLS c;branch=z9hG4bK3\r\nFROM\t:\"a\r\n  b\" <sip:alice@example.com>\r\n ; tag = 1\r\nt:<sip:bob@example.com> ;tag=2\r\nI:c1\r\ncseq:\r\n 1\r\n OPTIONS\r\nL:\r\n 0\r\n\r\n")
	via, err := m.TopVia()
	if err != nil || via.Branch() != "z9hG4bK1" || via.Transport != "UDP" || via.Host != "192.0.2.1" {
		t.Errorf("Via %+v, %v", via, err)
	}
	if got := len(slices.Collect(m.Values(HVia))); got != 3 {
		t.Errorf("%d Vias", got)
	}
	from, err := m.From()
	if err != nil || from.Display != "a b" || from.Tag() != "1" || m.FromTag() != "1" || m.ToTag() != "2" {
		t.Errorf("From %+v, %v, To tag %q", from, err, m.ToTag())
	}
	if c, err := m.CSeq(); c != (CSeq{1, OPTIONS}) || err != nil {
		t.Errorf("CSeq %v, %v", c, err)
	}
	if e := Check(m); e != nil {
		t.Error(e)
	}
}

func TestValues(t *testing.T) {
	m := mustParse(t, request(`Contact: "a, b" <sip:a@h;x=1,2>;q=1, <sip:b@h>`, "m: sip:c@h", `Route: <sip:r1;lr>,<sip:r2;lr>`, "Supported: 100rel , gruu", "k:,,path",
		"Subject: one, two", "Date: Sat, 13 Nov 2010 23:29:00 GMT", "Allow:"))
	for id, want := range map[HeaderID]string{
		HContact: `"a, b" <sip:a@h;x=1,2>;q=1|<sip:b@h>|sip:c@h`, HRoute: "<sip:r1;lr>|<sip:r2;lr>", HSupported: "100rel|gruu|path",
		HSubject: "one, two", HDate: "Sat, 13 Nov 2010 23:29:00 GMT", HAllow: "", HExpires: "",
	} {
		if got := strings.Join(slices.Collect(m.Values(id)), "|"); got != want {
			t.Errorf("Values(%v) = %q, want %q", id, got, want)
		}
	}
	if got := strings.Join(slices.Collect(m.Each(HContact)), "|"); got != `"a, b" <sip:a@h;x=1,2>;q=1, <sip:b@h>|sip:c@h` {
		t.Errorf("Each = %q", got)
	}
	for v := range m.Values(HContact) {
		if v != `"a, b" <sip:a@h;x=1,2>;q=1` {
			t.Errorf("first value %q", v)
		}
		break
	}
	if !m.HasToken(HSupported, "GRUU") || !m.HasToken(HSupported, "path") || m.HasToken(HSupported, "10") || m.HasToken(HRequire, "x") {
		t.Error("HasToken")
	}
}

func TestInt(t *testing.T) {
	for _, row := range []struct {
		text string
		n    uint32
		ok   bool
	}{
		{"Expires: 3600", 3600, true}, {"Expires: 0000000000000000000000000000000000000042", 42, true},
		{"Expires: 4294967295", 1<<32 - 1, true}, {"Expires: 4294967296", 0, false}, {"Expires: 18446744073709551617", 0, false},
		{"Expires: -1", 0, false}, {"Expires: +1", 0, false}, {"Expires: 1.5", 0, false}, {"Expires:", 0, false}, {"Expires: 0x10", 0, false},
		{"Expires: 1 2", 0, false}, {"Expires: " + strings.Repeat("9", 4000), 0, false}, {"X: 1", 0, false}, {"Expires: ٣", 0, false},
	} {
		m := mustParse(t, request(row.text))
		if n, ok := m.Int(HExpires); n != row.n || ok != row.ok {
			t.Errorf("%q: %d, %v", row.text, n, ok)
		}
		if e := Check(m); row.ok != (e == nil) && row.text != "X: 1" {
			t.Errorf("%q: Check = %v", row.text, e)
		}
	}
	m := mustParse(t, request("Session-Expires: 1800;refresher=uac", "Min-SE: 90 ", "Retry-After: 5 (soon);duration=3"))
	for id, want := range map[HeaderID]uint32{HSessionExpires: 1800, HMinSE: 90, HRetryAfter: 5, HMaxForwards: 70} {
		if n, ok := m.Int(id); n != want || !ok {
			t.Errorf("%v = %d, %v", id, n, ok)
		}
	}
}

func TestContentType(t *testing.T) {
	for text, want := range map[string]string{
		"text/plain": "text/plain ", "Text/PLAIN; charset=UTF-8": "text/plain UTF-8", "text / html;Charset=\"utf-8\"": "text/html utf-8", "message/cpim ;charset = x": "message/cpim x",
	} {
		mediaType, params := mustParse(t, request("c: "+text)).ContentType()
		charset, _ := params.Get("charset")
		if got := mediaType + " " + charset; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if mediaType, params := mustParse(t, request()).ContentType(); mediaType != "" || params != "" {
		t.Error("a Content-Type out of nothing")
	}
}

func TestParams(t *testing.T) {
	p := Params(` ; a=1;B = "x;\"y\"" ;flag; e="" ;a=2`)
	var all []string
	for n, v := range p.All() {
		all = append(all, n+"="+v)
	}
	if got := strings.Join(all, "|"); got != `a=1|B=x;"y"|flag=|e=|a=2` {
		t.Errorf("All = %q", got)
	}
	if v, ok := p.Get("b"); v != `x;"y"` || !ok {
		t.Errorf("Get(b) = %q, %v", v, ok)
	}
	if v, ok := p.Get("FLAG"); v != "" || !ok || !p.Has("flag") || p.Has("none") {
		t.Errorf("Get(flag) = %q, %v", v, ok)
	}
	for got, want := range map[Params]string{
		Params(";a=1;b").With("A", "2"):      ";A=2;b",
		Params(";a=1;b").With("c", "x y"):    `;a=1;b;c="x y"`,
		Params("").With("lr", ""):            ";lr",
		Params(";a=1;b;a=2").Without("a"):    ";b",
		Params(`;a="1;2" ; b`).With("c", ""): `;a="1;2";b;c`,
		Params(";a").Without("b"):            ";a",
		Params(";a=1;A=2").With("a", "3"):    ";a=3",
	} {
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestContacts(t *testing.T) {
	list, star, err := mustParse(t, request("Contact: *")).Contacts()
	if len(list) != 0 || !star || err != nil {
		t.Errorf("%v, %v, %v", list, star, err)
	}
	for _, rows := range [][]string{{"Contact: *, <sip:a@h>"}, {"Contact: *", "Contact: <sip:a@h>"}, {"Contact: *, *"}, {"Contact: %"}, {"Contact: <sip:a@h"},
		{"Contact: <sip:a@h>;q=2"}, {"Contact: <sip:a@h>;q=0.1234"}, {"Contact: <sip:a@h>;q=1.1"}, {"Contact: <sip:a@h>;expires=x"}, {"Contact: <sip:a@h>;expires=4294967296"}, {"Contact: <sip:a@h>;q=1;q=0"},
		{"Contact: <sip:a@h>;expires=1;EXPIRES=2"}, {"Contact: <sip:a@h>,"}, {"Contact: ,<sip:a@h>"}, {"Contact:"}, {"Contact: <>"}, {"Contact: <sip:>"}} {
		m := mustParse(t, request(rows...))
		if e := Check(m); e == nil || e.Status != 400 {
			t.Errorf("%q: Check = %v", rows, e)
		}
	}
	m := mustParse(t, request(`Contact: "A" <sip:a@h;ob>;+sip.instance="<urn:uuid:1>";reg-id=1;q=0.5;expires=60;methods="INVITE,BYE";audio, <sip:b@h>;q=1.000;q2`))
	if e := Check(m); e != nil {
		t.Error(e)
	}
	list, _, err = m.Contacts()
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	if v, _ := list[0].Params.Get("+sip.instance"); v != "<urn:uuid:1>" {
		t.Errorf("instance %q", v)
	}
}

// TestLeadingLines: RFC 3261 §7.5.
func TestLeadingLines(t *testing.T) {
	m := mustParse(t, "\r\n\r\n"+request("l: 2")+"hi")
	if string(m.Bytes()) != request("l: 2")+"hi" || Check(m) != nil {
		t.Errorf("%q", m.Bytes())
	}
	for _, text := range []string{"\r\n", "\r\n\r\n", "\n", "\r", "\r\n\n" + request(), "\n" + request()} {
		if m, err := Parse([]byte(text)); err == nil || m.Answerable() {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestHeadersIter(t *testing.T) {
	var got []string
	for name, h := range mustParse(t, request("x-Y:  z ")).Headers() {
		got = append(got, fmt.Sprintf("%s/%v=%s", name, h.ID, h.Value))
	}
	if len(got) != 7 || got[6] != "x-Y/=z" || got[0] != "Via/Via=SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1" {
		t.Errorf("%q", got)
	}
}
