package dialog

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/wire/sip"
)

func parse(t testing.TB, text string) *sip.Message {
	t.Helper()
	m, err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// invite is the INVITE of RFC 3261 §16.12.1.1 as it reaches U2, with two
// proxies on its way.
const invite = `INVITE sip:callee@u2.domain.com SIP/2.0
Via: SIP/2.0/TCP p2;branch=z9hG4bKp2
Contact: <sip:caller@u1.example.com;method=INVITE?Subject=x>
From: "Caller" <sip:caller@u1.example.com>;tag=c1
To: <sip:callee@domain.com>;x=y
Call-ID: 16-12-1
CSeq: 7 INVITE
Record-Route: <sip:p2.domain.com;lr>
Record-Route: <sip:p1.example.com;lr>
Content-Length: 0

`

// RFC 3261 §12.1.1, §12.2.1.1 and the example of §16.12.1.1.
func TestServerDialog(t *testing.T) {
	d, err := FromRequest(parse(t, invite), "u2")
	if err != nil {
		t.Fatal(err)
	}
	if d.ID != (ID{CallID: "16-12-1", Local: "u2", Remote: "c1"}) || d.RemoteSeq != 7 || d.Secure {
		t.Errorf("%+v", d)
	}
	if d.Target != "sip:caller@u1.example.com" {
		t.Errorf("target %s", d.Target)
	}
	if !slices.Equal(d.Routes, []string{"<sip:p2.domain.com;lr>", "<sip:p1.example.com;lr>"}) {
		t.Errorf("route set %q", d.Routes)
	}
	bye, err := d.Request("BYE").Add(sip.HVia, "SIP/2.0/TCP x;branch=z9hG4bK1").Message()
	if err != nil {
		t.Fatal(err)
	}
	if bye.RequestURI() != "sip:caller@u1.example.com" || !slices.Equal(slices.Collect(bye.Values(sip.HRoute)), d.Routes) {
		t.Errorf("BYE:\n%s", bye.Bytes())
	}
	if bye.Get(sip.HFrom) != "<sip:callee@domain.com>;tag=u2" || bye.Get(sip.HTo) != `"Caller" <sip:caller@u1.example.com>;tag=c1` || bye.Get(sip.HCSeq) != "1 BYE" {
		t.Errorf("BYE:\n%s", bye.Bytes())
	}
	if sip.Check(bye) != nil {
		t.Errorf("BYE: %v", sip.Check(bye))
	}
	if ServerID(parse(t, strings.Replace(invite, ";x=y", ";tag=u2", 1))) != d.ID {
		t.Error("a request of the peer has another ID")
	}
}

// RFC 3261 §12.1.2: the caller's route set is reversed.
func TestClientDialog(t *testing.T) {
	ok := strings.Replace(invite, "INVITE sip:callee@u2.domain.com SIP/2.0", "SIP/2.0 200 OK", 1)
	ok = strings.Replace(ok, ";x=y", ";tag=u2", 1)
	ok = strings.Replace(ok, "sip:caller@u1.example.com;method", "sip:callee@u2.domain.com;method", 1)
	d, err := FromResponse(parse(t, ok))
	if err != nil {
		t.Fatal(err)
	}
	if d.ID != (ID{CallID: "16-12-1", Local: "c1", Remote: "u2"}) || d.LocalSeq != 7 || d.Target != "sip:callee@u2.domain.com" {
		t.Errorf("%+v", d)
	}
	if !slices.Equal(d.Routes, []string{"<sip:p1.example.com;lr>", "<sip:p2.domain.com;lr>"}) {
		t.Errorf("route set %q", d.Routes)
	}
	if got := d.Request("BYE").Get(sip.HCSeq); got != "8 BYE" {
		t.Errorf("CSeq %s", got)
	}
}

// RFC 3261 §12.2.1.1 and §16.12.1.2: a strict router on top.
func TestStrictRoute(t *testing.T) {
	d, err := FromRequest(parse(t, strings.Replace(invite, "<sip:p2.domain.com;lr>", "<sip:p2.domain.com>", 1)), "u2")
	if err != nil {
		t.Fatal(err)
	}
	m := d.Request("BYE")
	raw := string(m.Bytes())
	if m.URI() != "sip:p2.domain.com" || !strings.Contains(raw, "Route: <sip:p1.example.com;lr>\r\nRoute: <sip:caller@u1.example.com>\r\n") {
		t.Errorf("BYE:\n%s", raw)
	}
	if len(d.Routes) != 2 {
		t.Errorf("route set %q", d.Routes)
	}
}

func TestBadDialogs(t *testing.T) {
	for name, change := range map[string][2]string{
		"no Contact":    {"Contact: <sip:caller@u1.example.com;method=INVITE?Subject=x>\n", ""},
		"two Contacts":  {"Contact: <sip:caller", "Contact: <sip:a@b>, <sip:caller"},
		"star":          {"Contact: <sip:caller@u1.example.com;method=INVITE?Subject=x>", "Contact: *"},
		"tel Contact":   {"Contact: <sip:caller@u1.example.com;method=INVITE?Subject=x>", "Contact: <tel:+1>"},
		"hostile 19":    {"Contact: <sip:caller@u1.example.com;method=INVITE?Subject=x>", "Contact: %"},
		"empty Contact": {"Contact: <sip:caller@u1.example.com;method=INVITE?Subject=x>", "Contact: <>"},
	} {
		if _, err := FromRequest(parse(t, strings.Replace(invite, change[0], change[1], 1)), "u2"); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// RFC 3261 §12.2.2: CSeq grows; a new Contact replaces the target.
func TestSeqAndRefresh(t *testing.T) {
	d, _ := FromRequest(parse(t, invite), "u2")
	for _, row := range []struct {
		cseq string
		ok   bool
	}{{"8 UPDATE", true}, {"8 UPDATE", false}, {"7 UPDATE", false}, {"100 UPDATE", true}, {"2147483647 UPDATE", true}} {
		if got := d.CheckSeq(parse(t, strings.Replace(invite, "7 INVITE", row.cseq, 1))); got != row.ok {
			t.Errorf("%s: %v", row.cseq, got)
		}
	}
	if err := d.Refresh(parse(t, strings.Replace(invite, "sip:caller@u1.example.com;m", "sip:caller@new.example.com;m", 1))); err != nil || d.Target != "sip:caller@new.example.com" {
		t.Errorf("%v %s", err, d.Target)
	}
	if err := d.Refresh(parse(t, strings.Replace(invite, "Contact: <", "Subject: <", 1))); err != nil || d.Target != "sip:caller@new.example.com" {
		t.Errorf("%v %s", err, d.Target)
	}
	if err := d.Refresh(parse(t, strings.Replace(invite, "Contact: <sip", "Contact: <tel", 1))); err == nil {
		t.Error("a tel target")
	}
	d.LocalSeq = math.MaxInt32
	if got := d.Request("BYE").Get(sip.HCSeq); got != "1 BYE" {
		t.Errorf("CSeq after the last one: %s", got)
	}
}
