package pidf

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/wire/xmlsafe"
)

// RFC 5262 §6: the full document, the partial one, and what comes of it.
func TestPatchExample(t *testing.T) {
	got, version, err := Update(nil, 0, read(t, "rfc5262-6-full.xml"))
	if err != nil || version != 567 {
		t.Fatal(version, err)
	}
	got, version, err = Update(got, version, read(t, "rfc5262-6-diff.xml"))
	if err != nil || version != 568 {
		t.Fatal(version, err)
	}
	have, err := Parse(got)
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	want, err := Parse(read(t, "rfc5262-6-result.xml"))
	if err != nil {
		t.Fatal(err)
	}
	// The RFC's note is worded differently in its two documents.
	for _, p := range []*Presence{have, want} {
		if n := p.Tuples[3].Notes; len(n) != 1 || !strings.HasPrefix(n[0].Text, "This is a new tuple") {
			t.Errorf("note %q", n)
		}
		p.Tuples[3].Notes = nil
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if !bytes.Contains(got, []byte(`version="568"`)) {
		t.Errorf("the version is not told:\n%s", got)
	}
}

// random makes a document from few parts, so that two of them have much in common.
func random(r *rand.Rand) *Presence {
	pick := func(n int) int { return r.IntN(n) }
	p := &Presence{Entity: fmt.Sprintf("sip:a%d@b", pick(2))}
	all := everything()
	shape := func(e *Extra, notes *[]Note, at *time.Time) {
		if pick(2) == 0 {
			e.Availability = []Availability{Available, Busy, DND, ""}[pick(4)]
			*notes = []Note{{"en", fmt.Sprintf("note %d <&>", pick(3))}}
		}
		if pick(3) == 0 {
			*at = time.Unix(int64(pick(3)), 0).UTC()
		}
	}
	for _, id := range r.Perm(5)[:pick(6)] {
		t := Tuple{ID: fmt.Sprintf("t%d", id), Basic: []string{Open, Closed, ""}[pick(3)]}
		if pick(4) == 0 {
			t = all.Tuples[0]
			t.ID = fmt.Sprintf("t%d", id)
		}
		shape(&t.Extra, &t.Notes, &t.Timestamp)
		p.Tuples = append(p.Tuples, t)
	}
	for range pick(3) {
		p.Notes = append(p.Notes, all.Notes[pick(2)])
	}
	for _, id := range r.Perm(3)[:pick(3)] {
		n := Person{ID: fmt.Sprintf("p%d", id)}
		if pick(3) == 0 {
			n = all.Persons[0]
			n.ID = fmt.Sprintf("p%d", id)
		}
		shape(&n.Extra, &n.Notes, &n.Timestamp)
		p.Persons = append(p.Persons, n)
	}
	for _, id := range r.Perm(4)[:pick(4)] {
		d := Device{ID: fmt.Sprintf("d%d", id), DeviceID: "urn:x"}
		shape(&d.Extra, &d.Notes, &d.Timestamp)
		p.Devices = append(p.Devices, d)
	}
	return p
}

// What AppendDiff says about two documents turns the first into the second.
func TestDiffRoundTrip(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		from, to := random(r), random(r)
		checkDiff(t, from, to)
		checkDiff(t, to, to)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	long, other := &Presence{}, &Presence{}
	for i := range 40 {
		long.Tuples = append(long.Tuples, Tuple{ID: fmt.Sprintf("t%d", i), Basic: Open})
		other.Tuples = append(other.Tuples, Tuple{ID: fmt.Sprintf("t%d", i*7%40), Basic: Closed})
	}
	checkDiff(t, long, other)
	checkDiff(t, &Presence{}, everything())
	checkDiff(t, everything(), &Presence{})
}

func checkDiff(t testing.TB, from, to *Presence) {
	t.Helper()
	full := from.AppendFull(nil, 1)
	diff := AppendDiff(nil, from, to, 2)
	if err := xmlsafe.Check(diff, MaxBytes, MaxDepth); err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	patched, version, err := Update(full, 1, diff)
	if err != nil || version != 2 {
		t.Fatalf("version %d, %v\n%s\n%s", version, err, full, diff)
	}
	got, err := Parse(patched)
	if err != nil {
		t.Fatalf("%v\n%s", err, patched)
	}
	if have, want := got.Append(nil), to.Append(nil); !bytes.Equal(have, want) {
		t.Errorf("got\n%s\nwant\n%s\nfrom\n%s\nby\n%s", have, want, full, diff)
	}
	// The patched document stays in the order of the schema, so it is the full one but for the declarations.
	if a, b := body(patched), body(to.AppendFull(nil, 2)); !sameOrder(a, b) {
		t.Errorf("order of elements\n%s\n%s", a, b)
	}
}

func body(doc []byte) string {
	_, rest, _ := strings.Cut(string(doc), "pidf-full")
	_, rest, _ = strings.Cut(rest, ">")
	return rest
}

// sameOrder says whether tuples come first, then notes, then the rest.
func sameOrder(a, b string) bool {
	kinds := func(s string) (out []string) {
		for _, k := range []string{"<tuple", "<dm:person", "<dm:device"} {
			out = append(out, fmt.Sprint(strings.Count(s, k)))
		}
		last := strings.LastIndex(s, "<tuple")
		rest := strings.Index(s, "<dm:person ")
		if rest < 0 {
			rest = len(s)
		}
		return append(out, fmt.Sprint(last < rest))
	}
	return cmp.Equal(kinds(a), kinds(b))
}

// A change of one tuple among many is a small document.
func TestDiffIsSmall(t *testing.T) {
	from, to := typical(), typical()
	to.Tuples[1].Basic = Closed
	diff := AppendDiff(nil, from, to, 2)
	if n := bytes.Count(diff, []byte("<tuple")); n != 1 || bytes.Contains(diff, []byte("person")) {
		t.Errorf("%d tuples\n%s", n, diff)
	}
	if diff := AppendDiff(nil, from, from, 2); bytes.Contains(diff, []byte("<d:add")) || bytes.Contains(diff, []byte("<d:re")) {
		t.Errorf("no change, but\n%s", diff)
	}
}

// RFC 5263 §4.5: what a watcher does with versions.
func TestUpdateVersions(t *testing.T) {
	p := typical()
	full := p.AppendFull(nil, 5)
	for _, r := range []struct {
		name    string
		local   []byte
		version uint32
		doc     []byte
		want    error
		then    uint32
	}{
		{"first", nil, 0, full, nil, 5},
		{"full again", full, 4, full, nil, 5},
		{"full, much later", full, 1, full, nil, 5},
		{"full, the same", full, 5, full, ErrStale, 0},
		{"partial first", nil, 0, AppendDiff(nil, p, p, 1), ErrLost, 0},
		{"next", full, 5, AppendDiff(nil, p, p, 6), nil, 6},
		{"one missing", full, 5, AppendDiff(nil, p, p, 7), ErrLost, 0},
		{"the same", full, 5, AppendDiff(nil, p, p, 5), ErrStale, 0},
		{"past", full, 5, AppendDiff(nil, p, p, 4), ErrStale, 0},
		{"no version", full, 5, AppendDiff(nil, p, p, 0), ErrInvalid, 0},
		{"plain document", full, 5, p.Append(nil), ErrInvalid, 0},
		{"not xml", full, 5, []byte("x"), xmlsafe.ErrSyntax, 0},
	} {
		got, version, err := Update(r.local, r.version, r.doc)
		if !errors.Is(err, r.want) || version != r.then || (err == nil) != (got != nil) {
			t.Errorf("%s: version %d, %v", r.name, version, err)
		}
	}
}

// Operations of other servers: everything RFC 5261 §4 has that presence needs.
func TestPatchOperations(t *testing.T) {
	const head = `<d:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf-diff" xmlns:q="urn:ietf:params:xml:ns:pidf:rpid" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" version="2">`
	doc := []byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:x="urn:x" entity="sip:a@b"><tuple id="t1"><status><basic>open</basic></status><x:y x:z="1"/><contact>c</contact></tuple>` +
		`<tuple id="t2"><status><basic>open</basic></status></tuple><note xml:lang="en">n</note></presence>`)
	for _, r := range []struct {
		op, want string // in the result, after its root's tag
		err      error
	}{
		{`<d:replace sel="/presence/tuple[2]/status/basic/text()">closed</d:replace>`, `<tuple id="t2"><status><basic>closed</basic></status></tuple>`, nil},
		{`<d:replace sel='*/tuple[@id="t2"]/status'><status/></d:replace>`, `<tuple id="t2"><status/></tuple>`, nil},
		{`<d:replace sel="presence/tuple[@id='t1']/@id">t9</d:replace>`, `<tuple id="t9">`, nil},
		{`<d:add sel="*/tuple[@id='t1']/contact" type="@priority">0.5</d:add>`, `<contact priority="0.5">c</contact>`, nil},
		{`<d:add sel="*/tuple[@id='t2']"><note>n</note><note>m</note></d:add>`, `<tuple id="t2"><status><basic>open</basic></status><note>n</note><note>m</note></tuple>`, nil},
		{`<d:add sel="*/tuple[@id='t2']" pos="prepend"><q:class>c</q:class></d:add>`, `<tuple id="t2"><rpid:class>c</rpid:class><status>`, nil},
		{`<d:add sel="*/note" pos="before"><tuple id="t3"/></d:add>`, `</tuple><tuple id="t3"/><note xml:lang="en">`, nil},
		{`<d:remove sel="*/tuple[1]/contact"/>`, `<y xmlns="urn:x" xmlns:a0="urn:x" a0:z="1"/></tuple>`, nil},
		{`<d:remove sel="*/note/@xml:lang"/>`, `<note>n</note>`, nil},
		{`<d:remove sel="*/tuple"/>`, "", ErrPatch},
		{`<d:remove sel="*/tuple[@id='t3']"/>`, "", ErrPatch},
		{`<d:remove sel="*/tuple[3]"/>`, "", ErrPatch},
		{`<d:remove sel="*"/>`, "", ErrPatch},
		{`<d:remove sel=""/>`, "", ErrPatch},
		{`<d:remove sel="//tuple"/>`, "", ErrPatch},
		{`<d:remove sel="*/u:tuple"/>`, "", ErrPatch},
		{`<d:remove sel="*/tuple[1]/@id/x"/>`, "", ErrPatch},
		{`<d:remove sel="*/tuple[@id='t1'"/>`, "", ErrPatch},
		{`<d:remove sel="*/tuple[last()]"/>`, "", ErrPatch},
		{`<d:replace sel="*/tuple[1]"/>`, "", ErrPatch},
		{`<d:replace sel="*"><presence/></d:replace>`, "", ErrPatch},
		{`<d:add sel="*" pos="after"><note>x</note></d:add>`, "", ErrPatch},
		{`<d:add sel="*" pos="inside"><note>x</note></d:add>`, "", ErrPatch},
		{`<d:add sel="*" type="namespace::x">urn:x</d:add>`, "", ErrPatch},
		{`<d:move sel="*"/>`, "", ErrPatch},
		{`<d:add sel="*"><note>` + strings.Repeat("\"", 12000) + `</note></d:add>`, "", ErrPatch},
	} {
		got, err := Patch(doc, []byte(head+r.op+"</d:pidf-diff>"))
		if !errors.Is(err, r.err) || !strings.Contains(string(got), r.want) {
			t.Errorf("%.200s: %v\n%.1000s", r.op, err, got)
		}
		if err == nil {
			if _, err := Parse(got); err != nil {
				t.Errorf("%s: %v", r.op, err)
			}
		}
	}
}

func FuzzPatch(f *testing.F) {
	f.Add(read(f, "rfc5262-6-full.xml"), read(f, "rfc5262-6-diff.xml"))
	from, to := typical(), everything()
	f.Add(from.AppendFull(nil, 1), AppendDiff(nil, from, to, 2))
	f.Fuzz(func(t *testing.T, doc, diff []byte) {
		out, err := Patch(doc, diff)
		if err != nil {
			return
		}
		if err := xmlsafe.Check(out, MaxBytes, MaxDepth); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

// Two documents that were read, whatever they are, differ by what AppendDiff says.
func FuzzDiff(f *testing.F) {
	for name := range examples {
		f.Add(read(f, name), everything().Append(nil))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		from, err := Parse(a)
		if err != nil {
			return
		}
		to, err := Parse(b)
		if err != nil || len(from.Append(nil))+2*len(to.Append(nil)) > MaxBytes/2 {
			return
		}
		checkDiff(t, from, to)
	})
}

func BenchmarkDiff(b *testing.B) {
	from, to := typical(), typical()
	to.Tuples[1].Basic = Closed
	var room []byte
	b.ReportAllocs()
	for b.Loop() {
		room = AppendDiff(room[:0], from, to, 2)
	}
}
