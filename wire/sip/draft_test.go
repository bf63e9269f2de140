package sip

import (
	"strings"
	"testing"
)

func TestNewRequest(t *testing.T) {
	d := NewRequest(MESSAGE, "sip:bob@example.com").Add(HVia, "SIP/2.0/UDP h;branch=z9hG4bK1").Add(HFrom, "<sip:a@h>;tag=1").Add(HTo, "<sip:b@h>").
		Add(HCallID, "c").Add(HCSeq, "1 MESSAGE").Add(HMaxForwards, "70").AddName("X-Thing", "1").AddName("k", "path").AddName("bad name", "x").AddName("", "x").Body("text/plain", []byte("hi"))
	want := "MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\n" +
		"X-Thing: 1\r\nk: path\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
	if got := string(d.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if m := reparse(t, d); Check(m) != nil || !m.HasToken(HSupported, "path") || d.Method() != MESSAGE || d.URI() != "sip:bob@example.com" || d.Status() != 0 {
		t.Errorf("%v", Check(m))
	}
	// A line end in a value never starts a row.
	d = NewRequest("OPT\r\nIONS", "sip:a b\r\nX:y\x00@h").Add(HSubject, "a\r\nX-Evil: 1\x00").AddName("X-Y", "b\nc\r").Add(HFrom, "x").SetToTag("t")
	if got, want := string(d.Bytes()), "OPTIONS sip:a%20b%0D%0AX:y%00@h SIP/2.0\r\nSubject: a  X-Evil: 1 \r\nX-Y: b c \r\nFrom: x\r\nContent-Length: 0\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNewResponse(t *testing.T) {
	req := mustParse(t, "INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b\r\nVIA :\r\n SIP/2.0/UDP c\r\nf:<sip:a@h>;tag=1\r\nTo: Bob <sip:b@h>\r\ni: c\r\ncseq: 7  INVITE\r\nTimestamp: 54\r\nRecord-Route: <sip:p;lr>\r\nl: 2\r\n\r\nhi")
	d := NewResponse(req, 486, "").SetToTag("x")
	want := "SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b\r\nVIA : SIP/2.0/UDP c\r\nf:<sip:a@h>;tag=1\r\nTo: Bob <sip:b@h>;tag=x\r\ni: c\r\ncseq: 7  INVITE\r\nContent-Length: 0\r\n\r\n"
	if got := string(d.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if m := reparse(t, d); m.Method() != INVITE || m.Status() != 486 || m.IsRequest() || d.Status() != 486 || m.Answerable() {
		t.Errorf("%d %s", m.Status(), m.Method())
	}
	if got := reparse(t, d.SetToTag("y")).ToTag(); got != "x" {
		t.Errorf("second tag: %q", got)
	}
	// RFC 3261 §8.2.6.1
	if m := reparse(t, NewResponse(req, 100, "")); m.Get(HTimestamp) != "54" || m.Reason() != "Trying" {
		t.Errorf("%s", m.Bytes())
	}
	if m := reparse(t, NewResponse(req, 488, "Nope\r\nX: y")); m.Reason() != "Nope  X: y" {
		t.Errorf("%s", m.Bytes())
	}
	// Of two To headers the first one is copied, and no line end of the request survives.
	bad, err := Parse([]byte(request("To: <sip:x@h>;tag=", "X: y\nVia: evil")))
	if err == nil {
		t.Fatal("two To headers pass")
	}
	if m := reparse(t, NewResponse(bad, 400, "")); m.Get(HTo) != "<sip:bob@example.com>" || m.Count(HTo) != 1 {
		t.Errorf("%s", m.Bytes())
	}
}

func TestDraftEdits(t *testing.T) {
	text := request("Route: <sip:r1;lr>, <sip:r2;lr>", "Route: <sip:r3;lr>", "Supported: a, b", "Subject: x, y", "e: gzip", "Content-Type: text/plain", "X-A: 1", "x-a : 2", "Content-Length: 2") + "hi"
	for name, row := range map[string]struct {
		edit func(d *Draft)
		old  string
		new  string
	}{
		"nothing":                {func(d *Draft) {}, "", ""},
		"SetURI":                 {func(d *Draft) { d.SetURI("sip:carol@example.org") }, "OPTIONS sip:bob@example.com", "OPTIONS sip:carol@example.org"},
		"Add":                    {func(d *Draft) { d.Add(HRequire, "x") }, "Content-Length: 2\r\n", "Content-Length: 2\r\nRequire: x\r\n"},
		"Prepend":                {func(d *Draft) { d.Prepend(HRoute, "<sip:r0>") }, "Route: <sip:r1", "Route: <sip:r0>\r\nRoute: <sip:r1"},
		"Prepend new":            {func(d *Draft) { d.Prepend(HRecordRoute, "<sip:p;lr>") }, "Via:", "Record-Route: <sip:p;lr>\r\nVia:"},
		"Set":                    {func(d *Draft) { d.Set(HRoute, "<sip:r>") }, "Route: <sip:r1;lr>, <sip:r2;lr>\r\nRoute: <sip:r3;lr>", "Route: <sip:r>"},
		"Set new":                {func(d *Draft) { d.Set(HExpires, "1") }, "Content-Length: 2\r\n", "Content-Length: 2\r\nExpires: 1\r\n"},
		"Remove":                 {func(d *Draft) { d.Remove(HRoute) }, "Route: <sip:r1;lr>, <sip:r2;lr>\r\nRoute: <sip:r3;lr>\r\n", ""},
		"Remove none":            {func(d *Draft) { d.Remove(HExpires) }, "", ""},
		"RemoveName":             {func(d *Draft) { d.RemoveName("X-a") }, "X-A: 1\r\nx-a : 2\r\n", ""},
		"RemoveName compact":     {func(d *Draft) { d.RemoveName("S") }, "Subject: x, y\r\n", ""},
		"RemoveFirst shared":     {func(d *Draft) { d.RemoveFirst(HRoute) }, "<sip:r1;lr>, <sip:r2;lr>", "<sip:r2;lr>"},
		"RemoveFirst twice":      {func(d *Draft) { d.RemoveFirst(HRoute).RemoveFirst(HRoute) }, "Route: <sip:r1;lr>, <sip:r2;lr>\r\n", ""},
		"RemoveFirst all":        {func(d *Draft) { d.RemoveFirst(HRoute).RemoveFirst(HRoute).RemoveFirst(HRoute).RemoveFirst(HRoute) }, "Route: <sip:r1;lr>, <sip:r2;lr>\r\nRoute: <sip:r3;lr>\r\n", ""},
		"RemoveFirst no list":    {func(d *Draft) { d.RemoveFirst(HSubject) }, "Subject: x, y\r\n", ""},
		"ReplaceFirst shared":    {func(d *Draft) { d.ReplaceFirst(HRoute, "<sip:r0;lr>") }, "<sip:r1;lr>, <sip:r2;lr>", "<sip:r0;lr>, <sip:r2;lr>"},
		"ReplaceFirst no list":   {func(d *Draft) { d.ReplaceFirst(HSubject, "z") }, "x, y", "z"},
		"ReplaceFirst new":       {func(d *Draft) { d.ReplaceFirst(HExpires, "1") }, "Content-Length: 2\r\n", "Content-Length: 2\r\nExpires: 1\r\n"},
		"SetToTag":               {func(d *Draft) { d.SetToTag("t") }, "To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=t"},
		"Content-Length is ours": {func(d *Draft) { d.Set(HContentLength, "77") }, "", ""},
		"Body":                   {func(d *Draft) { d.Body("a/b", []byte("hello")) }, "e: gzip\r\nContent-Type: text/plain\r\nX-A: 1\r\nx-a : 2\r\nContent-Length: 2\r\n\r\nhi", "Content-Type: a/b\r\nX-A: 1\r\nx-a : 2\r\nContent-Length: 5\r\n\r\nhello"},
		"no Body":                {func(d *Draft) { d.Body("", nil) }, "e: gzip\r\nContent-Type: text/plain\r\nX-A: 1\r\nx-a : 2\r\nContent-Length: 2\r\n\r\nhi", "X-A: 1\r\nx-a : 2\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mustParse(t, text)
			d := m.Edit()
			row.edit(d)
			got := string(d.Bytes())
			if want := strings.Replace(text, row.old, row.new, 1); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if got != string(d.Bytes()) {
				t.Error("the second Bytes differs")
			}
			if string(m.Bytes()) != text {
				t.Error("the message changed")
			}
			reparse(t, d)
		})
	}
	d := mustParse(t, text).Edit()
	if d.Get(HSubject) != "x, y" || d.Get(HExpires) != "" || !d.Has(HRoute) || d.Has(HExpires) {
		t.Errorf("Get = %q", d.Get(HSubject))
	}
}

// TestDraftLength: Content-Length is there, once and right, whatever the message had.
func TestDraftLength(t *testing.T) {
	for _, text := range []string{request() + "hello", request("Content-Length: 5") + "hello rest", request("L :\r\n\t0005") + "hello"} {
		m := mustParse(t, text)
		for _, d := range []*Draft{m.Edit(), m.Edit().Remove(HContentLength), m.Edit().Add(HContentLength, "9"), m.Edit().AddName("l", "9"), m.Edit().Prepend(HContentLength, "9")} {
			out := d.Bytes()
			got := reparse(t, d)
			if got.Count(HContentLength) != 1 || string(got.Body()) != "hello" {
				t.Errorf("%q", out)
			}
			if n, err := Frame(out, Limits{}); n != len(out) || err != nil {
				t.Errorf("Frame = %d, %v", n, err)
			}
		}
	}
}

// TestDraftManyRows goes beyond what a draft and a message hold inline.
func TestDraftManyRows(t *testing.T) {
	d := NewRequest(OPTIONS, "sip:h").Add(HVia, "SIP/2.0/UDP h;branch=z9hG4bK1").Add(HFrom, "<sip:a@h>").Add(HTo, "<sip:b@h>").Add(HCallID, "c").Add(HCSeq, "1 OPTIONS")
	for range 100 {
		d.Add(HRoute, "<sip:r;lr>")
	}
	m := reparse(t, d)
	if m.Count(HRoute) != 100 || Check(m) != nil {
		t.Errorf("%d rows, %v", m.Count(HRoute), Check(m))
	}
	out := reparse(t, m.Edit().Prepend(HRoute, "<sip:first;lr>"))
	if out.Count(HRoute) != 101 || out.Get(HRoute) != "<sip:first;lr>" {
		t.Errorf("%d rows, first %q", out.Count(HRoute), out.Get(HRoute))
	}
	// A message that is used again forgets what it held.
	if err := m.Parse([]byte(request())); err != nil || m.Count(HRoute) != 0 || m.CallID() != "c1" || m.Count(HVia) != 1 {
		t.Errorf("%v, %d Routes", err, m.Count(HRoute))
	}
	if err := m.Parse(nil); err == nil || m.IsRequest() || m.Has(HVia) || m.Body() != nil || m.Answerable() {
		t.Errorf("%v after nothing", err)
	}
}
