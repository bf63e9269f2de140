package sip

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	for _, row := range []struct {
		text string
		want URI
	}{
		// RFC 3261 §19.1.3
		{"sip:alice@atlanta.com", URI{Scheme: "sip", User: "alice", Host: "atlanta.com"}},
		{"sip:alice:secretword@atlanta.com;transport=tcp", URI{Scheme: "sip", User: "alice", Password: "secretword", Host: "atlanta.com", Params: ";transport=tcp"}},
		{"sips:alice@atlanta.com?subject=project%20x&priority=urgent", URI{Scheme: "sips", User: "alice", Host: "atlanta.com", Headers: "subject=project%20x&priority=urgent"}},
		{"sip:+1-212-555-1212:1234@gateway.com;user=phone", URI{Scheme: "sip", User: "+1-212-555-1212", Password: "1234", Host: "gateway.com", Params: ";user=phone"}},
		{"sips:1212@gateway.com", URI{Scheme: "sips", User: "1212", Host: "gateway.com"}},
		{"sip:alice@192.0.2.4", URI{Scheme: "sip", User: "alice", Host: "192.0.2.4"}},
		{"sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com", URI{Scheme: "sip", Host: "atlanta.com", Params: ";method=REGISTER", Headers: "to=alice%40atlanta.com"}},
		{"sip:alice;day=tuesday@atlanta.com", URI{Scheme: "sip", User: "alice;day=tuesday", Host: "atlanta.com"}},
		{"SIP:a@[2001:db8::1]:5061;lr", URI{Scheme: "sip", User: "a", Host: "[2001:db8::1]", Port: 5061, Params: ";lr"}},
		{"SiPs:[::1]", URI{Scheme: "sips", Host: "[::1]"}},
		{"sip:a?b/c;d@h:65535", URI{Scheme: "sip", User: "a?b/c;d", Host: "h", Port: 65535}},
		{"sip:a@h.", URI{Scheme: "sip", User: "a", Host: "h."}},
		{"sip:a:@h", URI{Scheme: "sip", User: "a", Host: "h"}},
		{"sip:a@a_b.example.com:0", URI{Scheme: "sip", User: "a", Host: "a_b.example.com"}},
		{"sip:h?a=&b=%00", URI{Scheme: "sip", Host: "h", Headers: "a=&b=%00"}},
		{"sip:x7f3k2.invalid;transport=ws", URI{Scheme: "sip", Host: "x7f3k2.invalid", Params: ";transport=ws"}},
		{"tel:+1-201-555-0123;ext=9", URI{Scheme: "tel", Opaque: "+1-201-555-0123;ext=9"}},
		{"TEL:7042;phone-context=example.com", URI{Scheme: "tel", Opaque: "7042;phone-context=example.com"}},
		{"im:bob@example.com", URI{Scheme: "im", Opaque: "bob@example.com"}},
		{"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", URI{Scheme: "urn", Opaque: "uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}},
		{"soap.beep://192.0.2.103:3002", URI{Scheme: "soap.beep", Opaque: "//192.0.2.103:3002"}},
		{"http://www.example.com/a?b=c", URI{Scheme: "http", Opaque: "//www.example.com/a?b=c"}},
	} {
		u, err := ParseURI(row.text)
		if err != nil || u != row.want {
			t.Errorf("ParseURI(%q) = %+v, %v", row.text, u, err)
			continue
		}
		again, err := ParseURI(u.String())
		if err != nil || again != u {
			t.Errorf("%q comes back as %q: %+v, %v", row.text, u.String(), again, err)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for _, s := range []string{
		"", ":", "sip", "sip:", "sips:", "sip:@h", "sip:a@", "sip::pw@h", "sip:a b@h", "sip:a@h;", "sip:a@h;;lr", "sip:a@h;=x", "sip:a@h;x=", "sip:a@h?", "sip:a@h?x", "sip:a@h?=x", "sip:a@h?a=b&", "sip:a@h?a=b&&c=d",
		"sip:a%4@h", "sip:a%@h", "sip:a%zz@h", "sip:a@h%41", "sip:a@@h", "sip:a@b@h", "sip:a@h:", "sip:a@h:x", "sip:a@h:65536", "sip:a@h:-1", "sip:a@h:99999999999999999999", "sip:a@h :5060", "sip:a@h: 5060", "sip:a@h\t:1", " sip:a@h", "sip:a@h ", "sip: a@h",
		"sip:a@-h", "sip:a@h-", "sip:a@h..com", "sip:a@.com", "sip:a@.", "sip:a@256.1.1.1", "sip:a@1.2.3", "sip:a@1.2.3.4.5", "sip:a@1.2.3.4.", "sip:a@1.2.3.1000", "sip:a@[::1", "sip:a@::1", "sip:a@[1.2.3.4]", "sip:a@[::g]", "sip:a@[fe80::1%25eth0]", "sip:a@[]", "sip:a@[::1]x", "sip:a@[:::]",
		"sip:a@h;lr;lr", "sip:a@h;transport=tcp;Transport=udp", "sip:a@h;maddr=x;maddr=y", "sip:<a@h>", "sip:a\"@h", "sip:jürgen@h", "sip:a@münchen", "sip:a@h;x=\xff", "sip:a\x00@h", "sip:a@h\x00", "sip:a@" + strings.Repeat("a", 256),
		"1sip:a@h", "s ip:a@h", "<sip:a@h>", "tel:", "tel:+", "tel:abc xyz", "tel:+1;;x", "tel:+12x", "mailto:", "mailto:a b", "mailto:a<b", "nobody:%zz", "%:x",
	} {
		if u, err := ParseURI(s); err == nil {
			t.Errorf("ParseURI(%q) = %+v", s, u)
		}
	}
}

// TestURIEqual holds the examples of RFC 3261 §19.1.4 and their neighbours.
func TestURIEqual(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com:6000;transport=tcp", "sip:bob@biloxi.com", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},

		{"sip:a@h", "sips:a@h", false},
		{"sip:a@h", "sip:A@h", false},
		{"sip:a:pw@h", "sip:a@h", false},
		{"sip:h", "sip:a@h", false},
		{"sip:a@h;user=phone", "sip:a@h", false},
		{"sip:a@h;ttl=1", "sip:a@h", false},
		{"sip:a@h;method=INVITE", "sip:a@h", false},
		{"sip:a@h;maddr=h", "sip:a@h", false},
		{"sip:a@h;lr", "sip:a@h", true},
		{"sip:a@h;%74ransport=tcp", "sip:a@h;transport=tcp", true},
		{"sip:a@h;%74ransport=tcp", "sip:a@h", false},
		{"sip:a@h;x=%41", "sip:a@h;x=a", true},
		// The reserved set is not the same as its escapes.
		{"sip:a%3Bb@h", "sip:a;b@h", false},
		{"sip:a%3Bb@h", "sip:a%3bb@h", true},
		{"sip:a%2541@h", "sip:a%41@h", false},
		{"sip:a@h?x=1&x=2", "sip:a@h?x=2&x=1", true},
		{"sip:a@h?x=1", "sip:a@h?X=1", true},
		{"sip:a@h?x=1", "sip:a@h?x=1&y=2", false},
		{"sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]", true},
		{"sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]", false},
		{"tel:+12015550123", "tel:+12015550123", true},
		{"tel:+12015550123", "sip:+12015550123@h", false},
	} {
		a, err := ParseURI(row.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseURI(row.b)
		if err != nil {
			t.Fatal(err)
		}
		if a.Equal(b) != row.want || b.Equal(a) != row.want {
			t.Errorf("%q, %q: Equal = %v, %v, want %v", row.a, row.b, a.Equal(b), b.Equal(a), row.want)
		}
		if !a.Equal(a) || !b.Equal(b) {
			t.Errorf("%q or %q is not itself", row.a, row.b)
		}
	}
}

func TestAOR(t *testing.T) {
	for text, want := range map[string]string{
		"sip:alice@Example.COM":                            "alice@example.com",
		"sips:alice:pw@example.com:5061;transport=tcp?a=b": "alice@example.com",
		"sip:%61li%63e@example.com.":                       "alice@example.com",
		"sip:Alice@example.com":                            "Alice@example.com",
		"sip:a%20b%40c@h":                                  "a%20b%40c@h",
		"sip:a%3bb@h":                                      "a;b@h",
		"sip:%c3%bc@h":                                     "%C3%BC@h",
		"sip:a%00@h":                                       "a%00@h",
		"sip:a@[2001:DB8::1]":                              "a@[2001:db8::1]",
		"sip:example.com":                                  "",
		"tel:+12015550123":                                 "",
	} {
		u, err := ParseURI(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.AOR(); got != want {
			t.Errorf("AOR(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	if got := EscapeUser("a b@c;d%é"); got != "a%20b%40c;d%25%C3%A9" {
		t.Errorf("EscapeUser = %q", got)
	}
	if got := EscapeParam("urn:uuid:1;x=y\""); got != "urn:uuid:1%3Bx%3Dy%22" || Unescape(got) != "urn:uuid:1;x=y\"" {
		t.Errorf("EscapeParam = %q", got)
	}
	if got := Unescape("%4%zz%41%"); got != "%4%zzA%" {
		t.Errorf("Unescape = %q", got)
	}
}

func TestParseNameAddr(t *testing.T) {
	for _, row := range []struct{ text, display, uri, params string }{
		// RFC 3261 §20.10, §20.20, §20.34, §20.39
		{`"Mr. Watson" <sip:watson@worcester.bell-telephone.com>;q=0.7; expires=3600`, "Mr. Watson", "sip:watson@worcester.bell-telephone.com", ";q=0.7; expires=3600"},
		{`"Mr. Watson" <mailto:watson@bell-telephone.com> ;q=0.1`, "Mr. Watson", "mailto:watson@bell-telephone.com", ";q=0.1"},
		{`<sips:bob@192.0.2.4>;expires=60`, "", "sips:bob@192.0.2.4", ";expires=60"},
		{`"A. G. Bell" <sip:agb@bell-telephone.com> ;tag=a48s`, "A. G. Bell", "sip:agb@bell-telephone.com", ";tag=a48s"},
		{`sip:+12125551212@server.phone2net.com;tag=887s`, "", "sip:+12125551212@server.phone2net.com", ";tag=887s"},
		{`Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8`, "Anonymous", "sip:c8oqz84zk7z@privacy.org", ";tag=hyh8"},
		{`<sip:bigbox3.site3.atlanta.com;lr>`, "", "sip:bigbox3.site3.atlanta.com;lr", ""},
		{`"say \"hi\" \\ <x>, y" <sip:a@h>`, `say "hi" \ <x>, y`, "sip:a@h", ""},
		{`"Jürgen" <sip:a@h>`, "Jürgen", "sip:a@h", ""},
		{`Jürgen Müller <sip:a@h>`, "Jürgen Müller", "sip:a@h", ""},
		{`""<sip:a@h>;x`, "", "sip:a@h", ";x"},
		{`<sip:a@h?x=1,2>`, "", "", ""}, // "," may not stand in URI headers
		{`sip:a@h ; tag = x`, "", "sip:a@h", "; tag = x"},
		{`<sip:a@[::1]:5060>;tag=1`, "", "sip:a@[::1]:5060", ";tag=1"},
		{`tel:+1-201-555-0123`, "", "tel:+1-201-555-0123", ""},
	} {
		n, err := ParseNameAddr(row.text)
		if row.uri == "" {
			if err == nil {
				t.Errorf("ParseNameAddr(%q) = %+v", row.text, n)
			}
			continue
		}
		if err != nil || n.Display != row.display || n.URI.String() != row.uri || string(n.Params) != row.params {
			t.Errorf("ParseNameAddr(%q) = %+v, %v", row.text, n, err)
			continue
		}
		again, err := ParseNameAddr(n.String())
		if err != nil || again != n {
			t.Errorf("%q comes back as %q: %+v, %v", row.text, n.String(), again, err)
		}
	}
	for _, s := range []string{
		"", " ", "<>", "<", ">", "sip:a@h>", "<sip:a@h", `"a <sip:a@h>`, `"a" sip:a@h`, `"a"`, `a, b <sip:a@h>`, "a;b <sip:a@h>", "<sip:a@h> x", "<sip:a@h>;", "<sip:a@h>;;tag=1", "<sip:a@h>;tag=", "<sip:a@h>;=x", "<sip:a@h>;a=\"x", "< sip:a@h>", "<sip:a@h >", "<sip:a@h><sip:b@h>", "<sip:a@h>,<sip:b@h>",
		"sip:a@h?x=y", "sip:a,b@h", "sip:a@h,sip:b@h", "a@h", "\"a\x01\" <sip:a@h>", "\"a\\\x80\" <sip:a@h>", "%", `"\`, "a\x00 <sip:a@h>", "<sip:a@h>;a=b c",
	} {
		if n, err := ParseNameAddr(s); err == nil {
			t.Errorf("ParseNameAddr(%q) = %+v", s, n)
		}
	}
}

func TestTags(t *testing.T) {
	for text, want := range map[string]string{
		"<sip:a@h>;tag=x": "x", "sip:a@h;tag=x": "x", `"a;tag=y" <sip:a@h;tag=z>;q=1 ; TAG = x`: "x", "<sip:a@h;tag=z>": "", `"a\";tag=y" <sip:a@h>`: "",
		"": "", `"a`: "", "<sip:a": "", "a": "", "<sip:a@h>;tag": "",
	} {
		if got := tagOf(text); got != want {
			t.Errorf("tagOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestParseVia(t *testing.T) {
	for _, row := range []struct {
		text, transport, host string
		port                  uint16
		branch                string
	}{
		// RFC 3261 §20.42
		{"SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7", "UDP", "erlang.bell-telephone.com", 5060, "z9hG4bK87asdks7"},
		{"SIP/2.0/UDP 192.0.2.1:5060 ;received=192.0.2.207;branch=z9hG4bK77asjd", "UDP", "192.0.2.1", 5060, "z9hG4bK77asjd"},
		{"SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1", "UDP", "first.example.com", 4000, "z9hG4bKa7c6a8dlze.1"},
		{"sip/2.0/wss df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;rport", "WSS", "df7jal23ls0d.invalid", 0, "z9hG4bK56sdasks"},
		{"SIP/2.0/TLS [2001:db8::9:1]:5061;branch=z9hG4bK1", "TLS", "[2001:db8::9:1]", 5061, "z9hG4bK1"},
		{"SIP/2.0/TLS-SCTP a", "TLS-SCTP", "a", 0, ""},
	} {
		v, err := ParseVia(row.text)
		if err != nil || v.Transport != row.transport || v.Host != row.host || v.Port != row.port || v.Branch() != row.branch {
			t.Errorf("ParseVia(%q) = %+v, %v", row.text, v, err)
			continue
		}
		again, err := ParseVia(v.String())
		if err != nil || again != v {
			t.Errorf("%q comes back as %q: %+v, %v", row.text, v.String(), again, err)
		}
	}
	for _, s := range []string{
		"", "SIP", "SIP/2.0", "SIP/2.0/", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDP ;branch=x", "SIP/2.0/UDP :5060", "SIP/2.0/UDPh", "SIP/3.0/UDP h", "HTTP/2.0/UDP h", "SIP/2.0/UDP h i", "SIP/2.0/UDP h:", "SIP/2.0/UDP h:70000", "SIP/2.0/UDP h;", "SIP/2.0/UDP h;;", "SIP/2.0/UDP h;branch=", "SIP/2.0/UDP ::1", "SIP/2.0/UDP [::1", "SIP/2.0/UDP a@b", "SIP/2.0/UDP %00", "SIP/2.0/UDP \xff", "SIP/2.0/ h", "/2.0/UDP h",
	} {
		if v, err := ParseVia(s); err == nil {
			t.Errorf("ParseVia(%q) = %+v", s, v)
		}
	}
	for text, want := range map[string]string{"": "false 0", ";rport": "true 0", ";rport=": "true 0", ";rport=5060": "true 5060", ";rport=65536": "true 0", ";RPort=1": "true 1"} {
		port, present := Via{Params: Params(text)}.RPort()
		if got := fmt.Sprint(present, " ", port); got != want {
			t.Errorf("RPort(%q) = %s, want %s", text, got, want)
		}
	}
	if a := (Via{Params: ";received=x"}).Received(); a.IsValid() {
		t.Errorf("received = %v", a)
	}
}
