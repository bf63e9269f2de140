package reginfo

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/wire/xmlsafe"
)

func ptr[T any](v T) *T { return &v }

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 3680 §5.3 and RFC 5628 §7.
func TestParseExamples(t *testing.T) {
	rows := map[string]*Document{
		"rfc3680-5.3.xml": {Registrations: []Registration{{
			AOR: "sip:user@example.com", ID: "as9", State: Active,
			Contacts: []Contact{
				{ID: "76", State: Active, Event: Registered, Duration: 7322, Q: "0.8", URI: "sip:user@pc887.example.com"},
				{ID: "77", State: Terminated, Event: Expired, Duration: 3600, Q: "0.5", URI: "sip:user@university.edu"},
			},
		}}},
		"rfc5628-7.xml": {Registrations: []Registration{{
			AOR: "sip:user@example.com", ID: "as9", State: Active,
			Contacts: []Contact{{
				ID: "76", State: Active, Event: Registered, Duration: 36001, Expires: ptr[uint64](3599), Q: "0.8",
				CallID: "1j9FpLxk3uxtm8tn@192.0.2.1", CSeq: ptr[uint32](54321), URI: "sip:user@192.0.2.1",
				Params:    []Param{{"+sip.instance", `"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"`}},
				PubGRUU:   "sip:user@example.com;gr=hha9s8d-999a",
				TempGRUU:  "sip:8ffkas08af7fasklzi9@example.com;gr",
				FirstCSeq: 54301,
			}},
		}}},
	}
	for name, want := range rows {
		got, err := Parse(read(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		again, err := Parse(got.Bytes())
		if err != nil {
			t.Errorf("%s written and read again: %v", name, err)
		}
		if d := cmp.Diff(got, again); d != "" {
			t.Errorf("%s changed on the way (-first +second):\n%s", name, d)
		}
	}
}

// Whatever a client put into its Contact cannot leave its element.
func TestBytesEscapes(t *testing.T) {
	evil := "\"'><x>&amp;\r\n\t\x00\x1b]]>\u202e\xff"
	d := &Document{Version: 7, Partial: true, Registrations: []Registration{{
		AOR: "sip:a@b", ID: evil, State: Active,
		Contacts: []Contact{{ID: "1", State: Terminated, Event: Probation, RetryAfter: ptr[uint64](9), CallID: evil,
			URI: "sip:x@y", DisplayName: evil, Params: []Param{{evil, evil}}, PubGRUU: "sip:a@b;gr=" + "<"}},
	}}}
	got, err := Parse(d.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, d.Bytes())
	}
	c := got.Registrations[0].Contacts[0]
	want := "\"'><x>&amp;\r\n\t\ufffd\ufffd]]>\u202e\ufffd"
	if c.CallID != want || c.DisplayName != strings.TrimSpace(want) || c.Params[0].Name != want || len(got.Registrations) != 1 || c.PubGRUU != "sip:a@b;gr=<" {
		t.Errorf("got %+v", c)
	}
	if got.Version != 7 || !got.Partial || *c.RetryAfter != 9 {
		t.Errorf("got %+v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	head := `<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">`
	rows := []struct {
		doc  string
		want error
	}{
		{`<!DOCTYPE reginfo>` + head + `</reginfo>`, xmlsafe.ErrForbidden},
		{`<reginfo version="0" state="full"/>`, xmlsafe.ErrSyntax},
		{strings.Replace(head, `"0"`, `"-1"`, 1) + `</reginfo>`, ErrInvalid},
		{strings.Replace(head, `"0"`, `"4294967296"`, 1) + `</reginfo>`, ErrInvalid},
		{strings.Replace(head, "full", "half", 1) + `</reginfo>`, ErrInvalid},
		{head + `<registration aor="sip:a@b" id="1" state="asleep"/></reginfo>`, ErrInvalid},
		{head + `<registration aor="sip:a@b" id="1" state="active"><contact id="1" state="active"/></registration></reginfo>`, ErrInvalid},
		{head + `<registration aor="sip:a@b" id="1" state="active"><contact id="1" state="active" event="created" cseq="4294967296"/></registration></reginfo>`, ErrInvalid},
		{head + strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20) + `</reginfo>`, xmlsafe.ErrTooDeep},
	}
	for _, r := range rows {
		if _, err := Parse([]byte(r.doc)); !errors.Is(err, r.want) {
			t.Errorf("%s: got %v, want %v", r.doc, err, r.want)
		}
	}
	if _, err := Parse([]byte(head + `<registration aor="sip:a@b" id="1" state="init"/><z:other xmlns:z="urn:z"/></reginfo>`)); err != nil {
		t.Errorf("an element of another namespace: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "rfc3680-5.3.xml"))
	f.Add(read(f, "rfc5628-7.xml"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(d.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if len(again.Registrations) != len(d.Registrations) {
			t.Fatal("registrations were lost")
		}
	})
}
