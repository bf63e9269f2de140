package iscomposing

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// RFC 3994 §5
const active = `<?xml version="1.0" encoding="UTF-8"?>
<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="urn:ietf:params:xml:ns:im-composing iscomposing.xsd">
   <state>active</state>
   <contenttype>text/plain</contenttype>
   <refresh>90</refresh>
</isComposing>`

func TestRFCExamples(t *testing.T) {
	s, err := Parse([]byte(active))
	if err != nil || s != (State{State: "active", ContentType: "text/plain", Refresh: 90 * time.Second}) {
		t.Errorf("got %+v, %v", s, err)
	}
	idle := `<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>idle</state><lastactive>2003-01-27T10:43:00Z</lastactive><contenttype>audio/ogg</contenttype></isComposing>`
	s, err = Parse([]byte(idle))
	if err != nil || s != (State{State: "idle", ContentType: "audio", LastActive: time.Date(2003, 1, 27, 10, 43, 0, 0, time.UTC)}) {
		t.Errorf("got %+v, %v", s, err)
	}
}

// Text hidden in any place of the document must not come out again.
func TestNothingHides(t *testing.T) {
	const secret = "meetme"
	for _, doc := range []string{
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><note>meetme</note></isComposing>`,
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>meetme</state></isComposing>`,
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing" x="meetme"><state>active</state></isComposing>`,
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><contenttype>text/meetme</contenttype></isComposing>`,
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><contenttype>text/plain;a=meetme</contenttype></isComposing>`,
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state><lastactive>meetme</lastactive><refresh>meetme</refresh></isComposing>`,
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><!-- meetme --><state>active</state></isComposing>meetme`,
	} {
		s, err := Parse([]byte(doc))
		if err == nil && bytes.Contains(s.Bytes(), []byte(secret)) {
			t.Errorf("%s came out as %s", doc, s.Bytes())
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, doc := range []string{"", "hello", "<x/>", `<!DOCTYPE a><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>idle</state></isComposing>`,
		`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"/>`} {
		if _, err := Parse([]byte(doc)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: err = %v", doc, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(active))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if again, err := Parse(s.Bytes()); err != nil || again.State != s.State {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
