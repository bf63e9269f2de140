package resourcelist

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/wire/xmlsafe"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func entry(uri string, names ...string) Item {
	return Item{URI: uri, DisplayName: Text{"", strings.Join(names, "")}}
}

var examples = map[string]*Document{
	"rfc4826-3.3.xml": {Lists: []List{{Name: "friends", Items: []Item{
		entry("sip:bill@example.com", "Bill Doe"),
		// The file joins the lines that the RFC folds for display.
		{Kind: EntryRef, URI: "resource-lists/users/sip:bill@example.com/index/~~/resource-lists/list%5b@name=%22list1%22%5d/entry%5b@uri=%22sip:petri@example.com%22%5d"},
		{Kind: Sublist, List: &List{Name: "close-friends", DisplayName: Text{"", "Close Friends"}, Items: []Item{
			entry("sip:joe@example.com", "Joe Smith"), entry("sip:nancy@example.com", "Nancy Gross"),
			{Kind: External, URI: "http://xcap.example.org/resource-lists/users/sip:a@example.org/index/~~/resource-lists/list%5b@name=%22mkting%22%5d", DisplayName: Text{"", "Marketing"}},
		}}},
	}}}},
	"rfc5367-4.xml": {Lists: []List{{Items: []Item{entry("sip:bill@example.com"), entry("sip:joe@example.org"), entry("sip:ted@example.net")}}}},
	"rfc5364-6.xml": {Lists: []List{{Items: []Item{
		{URI: "sip:bill@example.com", Copy: To}, {URI: "sip:randy@example.net", Copy: To, Anonymize: true}, {URI: "sip:eddy@example.com", Copy: To, Anonymize: true},
		{URI: "sip:joe@example.org", Copy: Cc}, {URI: "sip:carol@example.net", Copy: Cc, Anonymize: true}, {URI: "sip:ted@example.net", Copy: Bcc}, {URI: "sip:andy@example.com", Copy: Bcc},
	}}}},
}

func TestExamples(t *testing.T) {
	for name, want := range examples {
		got, err := Parse(read(t, name), DefaultLimits)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		again, err := Parse(got.Append(nil), DefaultLimits)
		if err != nil {
			t.Errorf("%s written and read again: %v", name, err)
		}
		if d := cmp.Diff(got, again); d != "" {
			t.Errorf("%s changed on the way (-first +second):\n%s", name, d)
		}
	}
}

// RFC 5367 §4: the list in the body of a SUBSCRIBE.
func TestRecipients(t *testing.T) {
	got, err := Recipients(read(t, "rfc5367-4.xml"), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(examples["rfc5367-4.xml"].Lists[0].Items, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := Recipients(read(t, "rfc4826-3.3.xml"), DefaultLimits); !errors.Is(err, ErrReference) {
		t.Errorf("references: %v", err)
	}
	// RFC 5363 §4.1: as if it were there once; RFC 5364 §4: with the highest level.
	got, err = Recipients([]byte(head+`<list><entry uri="sip:a@b"/><entry uri="sip:c@b"/><entry uri="sip:a@b" cp:copyControl="to"/></list></resource-lists>`), DefaultLimits)
	if err != nil || len(got) != 2 || got[0].URI != "sip:a@b" || got[0].Copy != To {
		t.Errorf("repeated: %+v, %v", got, err)
	}
}

const head = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:cp="urn:ietf:params:xml:ns:copycontrol">`

// Limits at n−1, n and n+1, and everything else that is refused.
func TestRefuses(t *testing.T) {
	lim := Limits{Bytes: 10000, Depth: 3, Entries: 10}
	flat := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `<entry uri="sip:%d@x"/>`, i)
		}
		return head + "<list>" + b.String() + "</list></resource-lists>"
	}
	deep := func(n int) string {
		return head + strings.Repeat("<list>", n) + strings.Repeat("</list>", n) + "</resource-lists>"
	}
	in := func(s string) string { return head + "<list>" + s + "</list></resource-lists>" }
	for _, r := range []struct {
		name, doc string
		want      error
	}{
		{"entries under the limit", flat(8), nil},
		{"entries at the limit", flat(9), nil}, // the list itself is one
		{"entries over the limit", flat(10), ErrTooLarge},
		{"depth under the limit", deep(2), nil},
		{"depth at the limit", deep(3), nil},
		{"depth over the limit", deep(4), ErrTooLarge},
		{"depth 700", deep(700), ErrTooLarge},
		{"depth of other elements", in(strings.Repeat("<x>", 700) + strings.Repeat("</x>", 700)), xmlsafe.ErrTooDeep},
		{"bytes over the limit", in(strings.Repeat(" ", 10000)), xmlsafe.ErrTooLarge},
		{"element flood", in(strings.Repeat("<x/>", 1000)), xmlsafe.ErrTooMany},
		{"empty", head + `</resource-lists>`, nil},
		{"entry without uri", in(`<entry/>`), ErrInvalid},
		{"entry with an empty uri", in(`<entry uri=" "/>`), ErrInvalid},
		{"reference without ref", in(`<entry-ref/>`), ErrInvalid},
		{"external without anchor", in(`<external/>`), ErrInvalid},
		{"entry twice", in(`<entry uri="sip:a@b"/><entry uri="sip:a@b"/>`), ErrDuplicate},
		{"entry twice with other letters", in(`<entry uri="sip:a@b"/><entry uri="sip:A@b"/>`), nil},
		{"entry in two lists", in(`<entry uri="sip:a@b"/><list><entry uri="sip:a@b"/></list>`), nil},
		{"reference twice", in(`<entry-ref ref="x"/><entry-ref ref="x"/>`), ErrDuplicate},
		{"external twice", in(`<external anchor="x"/><external anchor="x"/>`), ErrDuplicate},
		{"list name twice", in(`<list name="a"/><list name="a"/>`), ErrDuplicate},
		{"list name twice at the top", head + `<list name="a"/><list name="a"/></resource-lists>`, ErrDuplicate},
		{"list name on two levels", in(`<list name="a"><list name="a"/></list>`), nil},
		{"doctype", `<!DOCTYPE x>` + flat(1), xmlsafe.ErrForbidden},
		{"other namespace", `<resource-lists><list/></resource-lists>`, ErrInvalid},
		{"cut", flat(1)[:130], xmlsafe.ErrSyntax},
		{"elements and attributes nobody knows", in(`<x:y xmlns:x="urn:x"><entry/></x:y><entry uri="a" z="1" cp:copyControl="x"><z/></entry>`), nil},
	} {
		_, err := Parse([]byte(r.doc), lim)
		if !errors.Is(err, r.want) {
			t.Errorf("%s: got %v, want %v", r.name, err, r.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: an error of %d bytes", r.name, len(err.Error()))
		}
	}
	if _, err := Recipients([]byte(flat(10000)), DefaultLimits); !errors.Is(err, ErrTooLarge) && !errors.Is(err, xmlsafe.ErrTooMany) {
		t.Errorf("ten thousand entries: %v", err)
	}
}

func TestFlatten(t *testing.T) {
	ext := func(ref string) Item { return Item{Kind: External, URI: ref} }
	ref := func(ref string) Item { return Item{Kind: EntryRef, URI: ref} }
	docs := map[string]*List{
		"colleagues": {Items: []Item{entry("sip:c@x"), {URI: "sip:a@x", Copy: To, Anonymize: true}}},
		"one":        {Items: []Item{entry("sip:one@x")}},
		"alias":      {Items: []Item{ref("one")}},
		"two":        {Items: []Item{entry("sip:1@x"), entry("sip:2@x")}},
		"self":       {Items: []Item{ext("self")}},
		"ping":       {Items: []Item{{Kind: Sublist, List: &List{Items: []Item{ext("pong")}}}}},
		"pong":       {Items: []Item{ext("ping")}},
		"loop":       {Items: []Item{ref("loop")}},
		"d1":         {Items: []Item{ext("d2"), {Kind: Sublist, List: &List{Items: []Item{ext("d2")}}}}},
		"d2":         {Items: []Item{ext("d3"), {Kind: Sublist, List: &List{Items: []Item{ext("d3")}}}}},
		"d3":         {Items: []Item{ext("d4"), {Kind: Sublist, List: &List{Items: []Item{ext("d4")}}}}},
		"d4":         {Items: []Item{entry("sip:d@x"), entry("sip:e@x")}},
	}
	fetches := 0
	fetch := func(_ Kind, ref string) (*List, error) {
		fetches++
		if l := docs[ref]; l != nil {
			return l, nil
		}
		return nil, errors.New("not found")
	}
	lim := Limits{Bytes: 1000, Depth: 8, Entries: 20}
	for _, r := range []struct {
		name  string
		items []Item
		want  string // URIs with their copy level
		err   error
	}{
		{"flat", []Item{entry("sip:a@x"), entry("sip:b@x")}, "sip:a@x sip:b@x", nil},
		{"once each, the highest copy level", []Item{{URI: "sip:a@x", Copy: Cc}, ext("colleagues"), entry("sip:a@x")}, "sip:a@x:to:anonymous sip:c@x", nil},
		{"references", []Item{ref("one"), ref("alias"), ext("two")}, "sip:one@x sip:1@x sip:2@x", nil},
		{"one entry that is two", []Item{ref("two")}, "", ErrReference},
		{"not found", []Item{ext("nowhere")}, "", ErrReference},
		{"itself", []Item{ext("self")}, "", ErrCycle},
		{"itself by another", []Item{ext("ping")}, "", ErrCycle},
		{"entry that is itself", []Item{ref("loop")}, "", ErrCycle},
		{"more and more", []Item{ext("d1")}, "", ErrTooLarge},
	} {
		d := &Document{Lists: []List{{Items: r.items}}}
		fetches = 0
		got, err := d.Flatten(lim, fetch)
		var uris []string
		for _, it := range got {
			s := it.URI
			if it.Copy != "" {
				s += ":" + string(it.Copy)
			}
			if it.Anonymize {
				s += ":anonymous"
			}
			uris = append(uris, s)
		}
		if !errors.Is(err, r.err) || strings.Join(uris, " ") != r.want || fetches > lim.Entries {
			t.Errorf("%s: %q, %v, %d fetches", r.name, uris, err, fetches)
		}
	}
	deep := List{Items: []Item{entry("sip:a@x")}}
	for range 20 {
		inner := deep
		deep = List{Items: []Item{{Kind: Sublist, List: &inner}}}
	}
	if _, err := (&Document{Lists: []List{deep}}).Flatten(lim, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("depth: %v", err)
	}
}

// Names and addresses cannot leave their places.
func TestEscapes(t *testing.T) {
	const evil = "\"/><x>&\x00"
	d := &Document{Lists: []List{{Name: evil, DisplayName: Text{evil, evil}, Items: []Item{entry(evil, evil), {Kind: Sublist}, {Kind: 99}}}}}
	got, err := Parse(d.Append(nil), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	const want = "\"/><x>&\ufffd"
	if l := got.Lists[0]; l.Name != want || l.DisplayName != (Text{want, want}) || len(l.Items) != 1 || l.Items[0].URI != want {
		t.Errorf("got %+v", got)
	}
}

func FuzzParse(f *testing.F) {
	for name := range examples {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := Limits{Bytes: 20000, Depth: 10, Entries: 100}
		d, err := Parse(b, lim)
		if err != nil {
			return
		}
		lim.Bytes *= 6 // escapes make text longer
		again, err := Parse(d.Append(nil), lim)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Fatal(diff)
		}
		items, err := d.Flatten(lim, func(Kind, string) (*List, error) { return &d.Lists[0], nil })
		if err == nil && len(items) > lim.Entries {
			t.Fatalf("%d items", len(items))
		}
	})
}

func BenchmarkRecipients(b *testing.B) {
	l := List{}
	for i := range 50 {
		l.Items = append(l.Items, entry(fmt.Sprintf("sip:user%d@example.org", i), "Some Body"))
	}
	doc := (&Document{Lists: []List{l}}).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Recipients(doc, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}
