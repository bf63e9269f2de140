package watcherinfo

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

// RFC 3858 §5.
var example = &Document{Lists: []List{{Resource: "sip:professor@example.net", Package: "presence", Watchers: []Watcher{
	{URI: "sip:userA@example.net", ID: "8ajksjda7s", Status: Active, Event: Approved, Subscribed: 509},
	{URI: "sip:userB@example.org", ID: "hh8juja87s997-ass7", Status: Pending, Event: Subscribe, DisplayName: "Mr. Subscriber"},
}}}}

func TestExample(t *testing.T) {
	got, err := Parse(read(t, "rfc3858-5.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(example, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	roundTrip(t, got)
}

func roundTrip(t testing.TB, want *Document) {
	t.Helper()
	doc := want.Append(nil)
	if err := xmlsafe.Check(doc, 6*MaxBytes, MaxDepth); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	got, err := Parse(doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("changed on the way (-first +second):\n%s\n%s", d, doc)
	}
}

func TestRoundTrip(t *testing.T) {
	roundTrip(t, &Document{Version: 4294967295, Partial: true})
	roundTrip(t, &Document{Version: 3, Partial: true, Lists: []List{
		{Resource: "sip:a@b", Package: "presence"},
		{Resource: "sip:a@b", Package: "presence.winfo", Watchers: []Watcher{
			{URI: "sip:<x>@b", ID: "1", Status: Terminated, Event: NoResource, DisplayName: "\"'><&\r\n\t", Lang: "en", Subscribed: 1, Expiration: ptr[uint64](0)},
			{URI: "sip:c@b", ID: "2", Status: Waiting, Event: Timeout, Expiration: ptr[uint64](1 << 62)},
		}},
	}})
	for _, e := range []Event{Subscribe, Approved, Deactivated, Probation, Rejected, Timeout, GiveUp, NoResource} {
		for _, s := range []Status{Active, Pending, Waiting, Terminated} {
			roundTrip(t, &Document{Lists: []List{{Resource: "r", Package: "p", Watchers: []Watcher{{URI: "u", ID: "i", Status: s, Event: e}}}}})
		}
	}
}

func TestRefuses(t *testing.T) {
	const head = `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="full">`
	in := func(s string) string {
		return head + `<watcher-list resource="r" package="p">` + s + `</watcher-list></watcherinfo>`
	}
	for doc, want := range map[string]error{
		`<!DOCTYPE x>` + head + `</watcherinfo>`: xmlsafe.ErrForbidden,
		head:                                     xmlsafe.ErrSyntax,
		``:                                       xmlsafe.ErrSyntax,
		`<watcherinfo version="0" state="full"/>`:                                                                ErrInvalid,
		strings.Replace(head, `"0"`, `"-1"`, 1) + `</watcherinfo>`:                                               ErrInvalid,
		strings.Replace(head, `"0"`, `"4294967296"`, 1) + `</watcherinfo>`:                                       ErrInvalid,
		strings.Replace(head, `full`, `half`, 1) + `</watcherinfo>`:                                              ErrInvalid,
		head + `<watcher-list resource="r"/></watcherinfo>`:                                                      ErrInvalid,
		head + `<watcher-list package="p"/></watcherinfo>`:                                                       ErrInvalid,
		in(`<watcher status="active" event="approved">u</watcher>`):                                              ErrInvalid,
		in(`<watcher id="1" status="asleep" event="approved">u</watcher>`):                                       ErrInvalid,
		in(`<watcher id="1" status="active" event="x">u</watcher>`):                                              ErrInvalid,
		in(`<watcher id="1" status="active" event="approved" expiration="-1">u</watcher>`):                       ErrInvalid,
		in(`<watcher id="1" status="active" event="approved" duration-subscribed="18446744073709551616"/>`):      ErrInvalid,
		in(strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20)):                                               xmlsafe.ErrTooDeep,
		in(strings.Repeat("<watcher/>", 30000)):                                                                  ErrInvalid,
		in(strings.Repeat("<a/>", 30000)):                                                                        xmlsafe.ErrTooMany,
		in(strings.Repeat(" ", MaxBytes)):                                                                        xmlsafe.ErrTooLarge,
		in(`<x:watcher xmlns:x="urn:x"/><watcher id="1" status="active" event="approved" x="y"><z/>u</watcher>`): nil,
	} {
		_, err := Parse([]byte(doc))
		if !errors.Is(err, want) {
			t.Errorf("%.200s: got %v, want %v", doc, err, want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%.200s: an error of %d bytes", doc, len(err.Error()))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "rfc3858-5.xml"))
	f.Add((&Document{Partial: true, Lists: []List{{Resource: "r", Package: "p", Watchers: []Watcher{{URI: "u", ID: "1", Status: Waiting, Event: GiveUp, DisplayName: "d", Lang: "l", Expiration: ptr[uint64](7)}}}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := Parse(b); err == nil && len(b) < MaxBytes/6 {
			roundTrip(t, d)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	var room []byte
	b.ReportAllocs()
	for b.Loop() {
		room = example.Append(room[:0])
	}
}
