package pidf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/wire/sip"
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

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func values(v ...string) *Set { return &Set{Values: v} }

// The examples of the RFCs, each read, written and read again.
var examples = map[string]*Presence{
	"rfc3863-4.2.2a.xml": {Entity: "pres:someone@example.com", Tuples: []Tuple{{ID: "sg89ae", Basic: Open, Contact: "tel:+09012345678", Priority: 800}}},
	"rfc3863-4.2.2b.xml": {Entity: "pres:someone@example.com", Tuples: []Tuple{{ID: "sg89ae", Basic: Open, Contact: "tel:+09012345678", Priority: 800}}},
	"rfc3863-4.2.4.xml":  {Entity: "pres:someone@example.com", Tuples: []Tuple{{ID: "ub93s3", Basic: Open, Contact: "im:someone@example.com"}}},
	"rfc3863-4.3.1.xml": {
		Entity: "pres:someone@example.com",
		Tuples: []Tuple{
			{ID: "bs35r9", Basic: Open, Contact: "im:someone@mobilecarrier.net", Priority: 800, Timestamp: at("2001-10-27T16:49:29Z"),
				Notes: []Note{{"en", "Don't Disturb Please!"}, {"fr", "Ne derangez pas, s'il vous plait"}}},
			{ID: "eg92n8", Basic: Open, Contact: "mailto:someone@example.com", Priority: 1000},
		},
		Notes: []Note{{"", "I'll be in Tokyo next week"}},
		// The element of pidf:im that the example makes up is one that clients use.
		Persons: []Person{{ID: "p1", Activities: []Set{{Values: []string{"busy"}}}}},
	},
	"rfc3863-4.3.2.xml": {Entity: "pres:someone@example.com", Tuples: []Tuple{
		{ID: "ck38g9", Basic: Open, Contact: "tel:+09012345678", Priority: 650},
		{ID: "md66je", Basic: Open, Contact: "im:someone@mobilecarrier.net", Priority: 1000},
	}},
	"rfc3863-4.3.3.xml": {Entity: "pres:someone@example.com", Tuples: []Tuple{{ID: "tj25ds", Basic: Open, Contact: "tel:+09012345678", Priority: 725}}},
	"rfc4479-7.1.xml": {
		Tuples: []Tuple{{ID: "sg89ae", Basic: Open, DeviceIDs: []string{"mac:8asd7d7d70"}, Contact: "sip:someone@example.com",
			Caps: &ServiceCaps{Extensions: Support{Yes: []string{"pref"}}, Methods: Support{Yes: []string{"MESSAGE", "OPTIONS"}}}}},
		Persons: []Person{{ID: "p1", Activities: []Set{{Values: []string{"on-the-phone"}}}}},
		Devices: []Device{{ID: "pc122", DeviceID: "mac:8asd7d7d70", UserInput: UserInput{State: Idle}}},
	},
	"rfc4480-4.xml": {
		Entity: "pres:someone@example.com",
		Tuples: []Tuple{
			{ID: "bs35r9", Basic: Open, DeviceIDs: []string{"urn:device:0003ba4811e3"}, Relationship: values("self"), ServiceClass: values("electronic"),
				Contact: "im:someone@mobile.example.net", Priority: 800, Timestamp: at("2005-10-27T16:49:29Z"),
				Notes: []Note{{"en", "Don't Disturb Please!"}, {"fr", "Ne derangez pas, s'il vous plait"}}},
			{ID: "ty4658", Basic: Open, Relationship: values("assistant"), Contact: "mailto:secretary@example.com", Priority: 1000},
			{ID: "eg92n8", Basic: Open, DeviceIDs: []string{"urn:x-mac:0003ba4811e3"}, Class: "email", ServiceClass: values("electronic"),
				StatusIcon: &Icon{URI: "http://example.com/mail.png"}, Contact: "mailto:someone@example.com", Priority: 1000},
		},
		Notes: []Note{{"", "I'll be in Tokyo next week"}},
		Persons: []Person{{
			ID: "p1", Activities: []Set{{From: at("2005-05-30T12:00:00+05:00"), Until: at("2005-05-30T17:00:00+05:00"),
				Values: []string{"away"}, Notes: []Note{{"", "Far away"}}}},
			Class: "calendar", Moods: []Set{{Values: []string{"angry"}, Other: []Note{{"", "brooding"}}}},
			PlaceIs: &PlaceIs{Audio: "noisy"}, PlaceType: values("residence"), Privacy: values("unknown"),
			Sphere: &Set{Other: []Note{{"", "bowling league"}}}, StatusIcon: &Icon{URI: "http://example.com/play.gif"},
			TimeOffset: &TimeOffset{Minutes: -240}, Notes: []Note{{"", "Scoring 120"}}, Timestamp: at("2005-05-30T16:09:44+05:00"),
		}},
		Devices: []Device{{ID: "pc147", DeviceID: "urn:device:0003ba4811e3", Notes: []Note{{"", "PC"}},
			UserInput: UserInput{State: Idle, IdleThreshold: 600, LastInput: at("2004-10-21T13:20:00-05:00")}}},
	},
	// The RFC closes display-name by </c:card>; the file does not.
	"rfc4482-4a.xml": {
		Entity: "pres:someone@example.com",
		Tuples: []Tuple{{ID: "bs35r9", Basic: Open, Contact: "im:alice@example.net", Priority: 800, Timestamp: at("2005-11-21T16:14:29Z")}},
		Persons: []Person{{ID: "p1", Timestamp: at("2005-11-21T09:00:00+05:00"), Card: &Card{
			Card: "http://example.com/~alice/card.vcd", Homepage: "http://example.com/~alice", Icon: "http://example.com/~alice/me.png",
			Map: "http://example.com/~alice/gml-map.xml", Sound: "http://example.com/~alice/hello.wav", DisplayNames: []Note{{"", "Alice Lewis"}},
		}}},
	},
	"rfc4482-4b.xml": {
		Entity: "pres:someone@example.com",
		Tuples: []Tuple{
			{ID: "bs35r9", Basic: Open, Contact: "im:someone@mobile.example.net", Priority: 800, Timestamp: at("2005-05-30T22:00:29Z")},
			{ID: "bs78", Basic: Closed, Relationship: values("assistant"), Contact: "im:assistant@example.com", Priority: 100,
				Card:      &Card{Card: "http://example.com/~assistant/card.vcd", Homepage: "http://example.com/~assistant"},
				Timestamp: at("2005-05-30T22:00:29Z")},
		},
		Persons: []Person{{ID: "p1", Timestamp: at("2005-05-30T22:02:44+05:00"), Card: &Card{
			Card: "http://example.com/~someone/card.vcd", Homepage: "http://example.com/~someone", Icon: "http://example.com/~someone/icon.gif",
			Map: "http://example.com/~someone/gml-map.xml", Sound: "http://example.com/~someone/whoosh.wav",
		}}},
	},
	"rfc5196-5.xml": {
		Entity: "pres:someone@example.com",
		Tuples: []Tuple{{ID: "joi9877866786ua9", Basic: Open, Contact: "sip:someone@example.com", Caps: &ServiceCaps{
			Audio: Yes, Message: Yes, Video: No, Duplex: Support{Yes: []string{"full"}},
			Descriptions: []Note{{"en", "Example service"}, {"hu", "Pe'lda szolga'ltata's"}},
			Methods:      Support{Yes: []string{"ACK", "BYE", "INVITE", "MESSAGE"}},
			Priority:     Ranges{Yes: []Range{{AnyMin, 10}}}, Schemes: Support{Yes: []string{"sip"}},
		}}},
		Devices: []Device{{ID: "hgt67", DeviceID: "urn:uuid:d27459b7-8213-4395-aa77-ed859a3e5b3a",
			Caps: &DeviceCaps{Mobility: Support{Yes: []string{"mobile"}}}}},
	},
}

func TestExamples(t *testing.T) {
	for name, want := range examples {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(read(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			again, err := Parse(got.Append(nil))
			if err != nil {
				t.Fatalf("written and read again: %v", err)
			}
			if d := cmp.Diff(got, again); d != "" {
				t.Errorf("changed on the way (-first +second):\n%s\n%s", d, got.Append(nil))
			}
		})
	}
}

// everything is a document with every field in use.
func everything() *Presence {
	return &Presence{
		Entity: "sip:alice@example.org",
		Tuples: []Tuple{
			{
				ID: "t1", Basic: Open, DeviceIDs: []string{"urn:uuid:1", "urn:uuid:2"}, Class: "work", UserInput: UserInput{State: Active, IdleThreshold: 300, LastInput: at("2026-01-05T13:00:00Z")},
				Relationship: values("self"), ServiceClass: values("electronic"), Privacy: values("audio", "text"),
				StatusIcon: &Icon{URI: "https://example.org/i.png", Until: at("2026-01-06T00:00:00Z")},
				Caps: &ServiceCaps{
					Audio: Yes, Application: No, Data: Yes, Control: No, Video: Yes, Text: Yes, Message: Yes, Automata: No, Focus: No,
					Actor: Support{Yes: []string{"principal"}, No: []string{"attendant"}}, Class: Support{Yes: []string{"business"}},
					Duplex: Support{Yes: []string{"full", "half"}}, Events: Support{Yes: []string{"dialog", "presence", "conference-info"}},
					Extensions: Support{Yes: []string{"100rel", "gruu", "histinfo", "outbound"}}, Methods: Support{Yes: []string{"INVITE", "MESSAGE", "PING"}},
					Languages: Support{Yes: []string{"de", "en"}, No: []string{"fr"}}, Schemes: Support{Yes: []string{"sip", "sips", "tel"}},
					Priority: Ranges{Yes: []Range{{5, 5}, {10, AnyMax}, {AnyMin, 1}, {3, 4}}, No: []Range{{7, 8}}},
					Types:    []string{"text/plain", "text/html"}, Descriptions: []Note{{"en", "Softphone"}},
				},
				Card:  &Card{DisplayNames: []Note{{"", "Alice"}, {"ko", "앨리스"}}},
				Extra: Extra{Availability: Busy, Device: Desktop, Line: Line{85 * time.Millisecond, Fast}, MaxMessage: 65536},
				Notes: []Note{{"", "at my desk"}}, Contact: "sip:alice@example.org;gr=1", Priority: 21, Timestamp: at("2026-01-05T13:00:00.25Z"),
			},
			{ID: "t2", Basic: Closed, Contact: "sip:alice@example.org", Priority: 1000},
			{ID: "t3", Extra: Extra{Device: DeskPhone, Line: Line{Throughput: Slow}}},
		},
		Notes: []Note{{"en", "hello"}, {"de", "hallo"}},
		Persons: []Person{{
			ID: "p1", Activities: []Set{
				{Values: []string{"meeting", "busy"}, Notes: []Note{{"", "budget"}}},
				{From: at("2026-01-05T14:00:00Z"), Until: at("2026-01-05T15:00:00Z"), Values: []string{"lunch", "tidying"}, Other: []Note{{"en", "reading <b>"}}},
			},
			Class: "c", Moods: []Set{{Values: []string{"in_awe", "sleepy"}}},
			PlaceIs:   &PlaceIs{Audio: "quiet", Video: "dark", Text: "inappropriate", Notes: []Note{{"", "cinema"}}},
			PlaceType: values("office"), Privacy: values("video"), Sphere: values("work"), StatusIcon: &Icon{URI: "https://example.org/s.png"},
			TimeOffset: &TimeOffset{Minutes: 60, Description: "Europe/Berlin"}, UserInput: UserInput{State: Idle},
			Card:  &Card{Card: "c", Homepage: "h", Icon: "i", Map: "m", Sound: "s"},
			Extra: Extra{Availability: DND, Until: at("2026-01-05T14:00:00Z")}, Notes: []Note{{"", "back at 14:00"}}, Timestamp: at("2026-01-05T12:00:00Z"),
		}},
		Devices: []Device{{
			ID: "d1", DeviceID: "urn:uuid:1", Class: "c", UserInput: UserInput{State: Idle, LastInput: at("2026-01-05T11:00:00Z")},
			Caps:  &DeviceCaps{Mobility: Support{Yes: []string{"mobile"}, No: []string{"fixed"}}, Descriptions: []Note{{"", "a <phone>"}}},
			Extra: Extra{Device: Phone, Line: Line{time.Second, Medium}}, Notes: []Note{{"", "n"}}, Timestamp: at("2026-01-05T12:00:00Z"),
		}},
	}
}

func TestEverything(t *testing.T) {
	want := everything()
	doc := want.Append(nil)
	got, err := Parse(doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s\n%s", d, doc)
	}
	full := want.AppendFull([]byte("before"), 7)
	if got, err = Parse(full[len("before"):]); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pidf-full (-want +got):\n%s", d)
	}
}

// The text of one document as it is written: order, prefixes, nothing more than needed.
func TestAppendText(t *testing.T) {
	p := &Presence{Entity: "sip:a@b", Tuples: []Tuple{{ID: "7 x", Basic: Open, Contact: "sip:a@b?x=1&y", Priority: 500, Timestamp: at("2026-01-05T13:00:00+01:00"),
		Extra: Extra{Device: Phone, Line: Line{RTT: 1500 * time.Microsecond}}}}}
	const want = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:parley:presence" entity="sip:a@b">` +
		`<tuple id="_7.20x"><status><basic>open</basic></status><p:device>phone</p:device><p:line rtt="2"/>` +
		`<contact priority="0.5">sip:a@b?x=1&amp;y</contact><timestamp>2026-01-05T12:00:00Z</timestamp></tuple></presence>`
	if got := string(p.Append(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What clients in the field send, each in its own way.
func TestLenient(t *testing.T) {
	const open = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:a@b">`
	const basic = `<status><basic>open</basic></status>`
	busy := []Person{{ID: "p1", Activities: []Set{{Values: []string{"busy"}}}}}
	one := []Tuple{{ID: "t1", Basic: Open}}
	rows := []struct {
		name, doc string
		want      *Presence
	}{
		{"person before the tuples, empty activities", open + `<dm:person id="p4159"><rpid:activities/></dm:person><tuple id="t4109">` + basic + `<contact>sip:a@b</contact></tuple></presence>`,
			&Presence{Tuples: []Tuple{{ID: "t4109", Basic: Open, Contact: "sip:a@b"}}, Persons: []Person{{ID: "p4159", Activities: []Set{{}}}}}},
		{"no identifiers", open + `<tuple>` + basic + `</tuple><dm:person><rpid:activities><rpid:busy/></rpid:activities></dm:person></presence>`, &Presence{Tuples: one, Persons: busy}},
		{"equal identifiers", open + `<tuple id="x">` + basic + `</tuple><tuple id="x">` + basic + `</tuple><dm:person id="x"/></presence>`,
			&Presence{Tuples: []Tuple{{ID: "x", Basic: Open}, {ID: "x.2", Basic: Open}}, Persons: []Person{{ID: "x.3"}}}},
		{"identifiers that are no names", open + `<tuple id="1@h">` + basic + `</tuple><tuple id="1.h">` + basic + `</tuple></presence>`,
			&Presence{Tuples: []Tuple{{ID: "_1.40h", Basic: Open}, {ID: "_1.2eh", Basic: Open}}}},
		{"capital letters and space", open + `<tuple id="t1"><status><basic> Open` + "\r\n" + `</basic></status></tuple></presence>`, &Presence{Tuples: one}},
		{"activities in the status", open + `<tuple id="t1"><status><basic>open</basic><rpid:activities><rpid:busy/></rpid:activities></status></tuple></presence>`, &Presence{Tuples: one, Persons: busy}},
		{"activities in the tuple", open + `<tuple id="t1">` + basic + `<rpid:activities><rpid:busy/></rpid:activities></tuple></presence>`, &Presence{Tuples: one, Persons: busy}},
		{"activities at the top", open + `<rpid:activities><rpid:busy/></rpid:activities><tuple id="t1">` + basic + `</tuple></presence>`, &Presence{Tuples: one, Persons: busy}},
		{"activities as drafts wrote them", open + `<tuple id="t1"><status><basic>open</basic><es:activities xmlns:es="urn:ietf:params:xml:ns:pidf:status:rpid-status"><es:activity>busy</es:activity></es:activities></status></tuple></presence>`,
			&Presence{Tuples: one, Persons: busy}},
		{"a person says more than a tuple", open + `<tuple id="t1">` + basic + `<rpid:activities><rpid:away/></rpid:activities></tuple><dm:person id="p1"><rpid:activities><rpid:busy/></rpid:activities></dm:person></presence>`,
			&Presence{Tuples: one, Persons: busy}},
		{"person without its namespace", open + `<tuple id="t1">` + basic + `</tuple><person id="p1"><activities><busy/></activities></person></presence>`, &Presence{Tuples: one, Persons: busy}},
		{"namespace of the drafts", `<presence xmlns="urn:ietf:params:xml:ns:cpim-pidf" entity="sip:a@b"><tuple id="t1">` + basic + `</tuple></presence>`, &Presence{Tuples: one}},
		{"prefix that is not declared", open + `<tuple id="t1">` + basic + `<ms:x ms:y="1"><ms:z/></ms:x></tuple><ms:userInput>idle</ms:userInput></presence>`, &Presence{Tuples: one}},
		{"elements nobody knows, with known names inside", open + `<tuple id="t1">` + basic + `<x xmlns="urn:x"><note xmlns="urn:ietf:params:xml:ns:pidf">no</note><tuple id="t2"/></x></tuple></presence>`, &Presence{Tuples: one}},
		{"time without a zone", open + `<tuple id="t1">` + basic + `<timestamp>2026-01-05T12:00:00</timestamp></tuple></presence>`, &Presence{Tuples: []Tuple{{ID: "t1", Basic: Open, Timestamp: at("2026-01-05T12:00:00Z")}}}},
		{"time in small letters", open + `<tuple id="t1">` + basic + `<timestamp>2026-01-05t12:00:00z</timestamp></tuple></presence>`, &Presence{Tuples: []Tuple{{ID: "t1", Basic: Open, Timestamp: at("2026-01-05T12:00:00Z")}}}},
		{"no time", open + `<tuple id="t1">` + basic + `<timestamp>yesterday</timestamp></tuple></presence>`, &Presence{Tuples: one}},
		{"priorities out of range", open + `<tuple id="t1">` + basic + `<contact priority="1.001">x</contact></tuple><tuple id="t2">` + basic + `<contact priority="-0.5">x</contact></tuple><tuple id="t3">` + basic + `<contact priority="0.5x">x</contact></tuple></presence>`,
			&Presence{Tuples: []Tuple{{ID: "t1", Basic: Open, Contact: "x"}, {ID: "t2", Basic: Open, Contact: "x"}, {ID: "t3", Basic: Open, Contact: "x"}}}},
		{"priorities in range", open + `<tuple id="t1">` + basic + `<contact priority="1.000">x</contact></tuple><tuple id="t2">` + basic + `<contact priority=".5">x</contact></tuple><tuple id="t3">` + basic + `<contact priority="0.0219">x</contact></tuple></presence>`,
			&Presence{Tuples: []Tuple{{ID: "t1", Basic: Open, Contact: "x", Priority: 1000}, {ID: "t2", Basic: Open, Contact: "x", Priority: 500}, {ID: "t3", Basic: Open, Contact: "x", Priority: 21}}}},
		{"language of the root", strings.Replace(open, "entity=", `xml:lang="de" entity=`, 1) + `<note>hallo</note><note xml:lang="en">hello</note></presence>`,
			&Presence{Notes: []Note{{"de", "hallo"}, {"en", "hello"}}}},
		{"notes without text, cdata, comments", open + `<note/><note><![CDATA[<a>]]>&amp;<!-- c -->b</note></presence>`, &Presence{Notes: []Note{{"", "<a>&b"}}}},
		{"our own values out of range", open + `<tuple id="t1">` + basic + `<p:x xmlns:p="urn:parley:presence"/><p:device xmlns:p="urn:parley:presence">toaster</p:device><p:line xmlns:p="urn:parley:presence" rtt="-1" throughput="x"/><p:availability xmlns:p="urn:parley:presence">dead</p:availability><p:max-message xmlns:p="urn:parley:presence">4294967296</p:max-message></tuple></presence>`,
			&Presence{Tuples: one}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got, err := Parse([]byte(r.doc))
			if err != nil {
				t.Fatal(err)
			}
			r.want.Entity = "sip:a@b"
			if d := cmp.Diff(r.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	const head = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b">`
	items := func(n int) string { return head + strings.Repeat("<tuple/>", n) + "</presence>" }
	rows := []struct {
		name, doc string
		want      error
	}{
		{"doctype", `<!DOCTYPE presence SYSTEM "http://x/y">` + head + `</presence>`, xmlsafe.ErrForbidden},
		{"billion laughs", `<!DOCTYPE p [<!ENTITY l "l"><!ENTITY m "&l;&l;">]>` + head + `<note>&m;</note></presence>`, xmlsafe.ErrForbidden},
		{"not xml", `v=0`, xmlsafe.ErrSyntax},
		{"empty", ``, xmlsafe.ErrSyntax},
		{"cut", head + `<tuple id="x">`, xmlsafe.ErrSyntax},
		{"broken behind the end", head + `</presence><x`, xmlsafe.ErrSyntax},
		{"depth 1000", head + strings.Repeat("<a>", 1000) + strings.Repeat("</a>", 1000) + `</presence>`, xmlsafe.ErrTooDeep},
		{"attributes", head + `<tuple ` + strings.Repeat(` a="x"`, 3) + `/></presence>`, xmlsafe.ErrSyntax},
		{"a megabyte", head + strings.Repeat(" ", 1<<20) + `</presence>`, xmlsafe.ErrTooLarge},
		{"no namespace", `<presence entity="sip:a@b"/>`, ErrInvalid},
		{"other root", `<tuple xmlns="urn:ietf:params:xml:ns:pidf"/>`, ErrInvalid},
		{"a partial document", `<pidf-diff xmlns="urn:ietf:params:xml:ns:pidf-diff"/>`, ErrInvalid},
		{"tuples at the limit", items(MaxItems), nil},
		{"tuples over the limit", items(MaxItems + 1), ErrInvalid},
	}
	for _, r := range rows {
		_, err := Parse([]byte(r.doc))
		if !errors.Is(err, r.want) {
			t.Errorf("%s: got %v, want %v", r.name, err, r.want)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%s: an error of %d bytes", r.name, len(err.Error()))
		}
	}
	long := strings.Repeat("x", 200)
	if _, err := Parse([]byte(`<` + long + ` xmlns="` + long + `"/>`)); !errors.Is(err, ErrInvalid) || len(err.Error()) > 300 {
		t.Errorf("long names: %v", err)
	}
}

// Whatever a client sent cannot leave its place in what others get.
func TestEscapes(t *testing.T) {
	evil := "\"'/><x>&amp;\r\n\x00\x1b]]>\ufffe\xff"
	p := &Presence{Entity: evil, Notes: []Note{{evil, evil}}, Tuples: []Tuple{{ID: evil, Basic: evil, Class: evil, Contact: evil, DeviceIDs: []string{evil}, Privacy: values(evil),
		Caps: &ServiceCaps{Methods: Support{Yes: []string{evil}}, Types: []string{evil}}, Extra: Extra{Availability: Availability(evil), Device: DeviceClass(evil)},
		UserInput: UserInput{State: evil}, StatusIcon: &Icon{URI: evil}, Card: &Card{Icon: evil}}},
		Persons: []Person{{PlaceIs: &PlaceIs{Audio: evil}, Timestamp: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}}}
	doc := p.Append(nil)
	if err := xmlsafe.Check(doc, MaxBytes, MaxDepth); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	got, err := Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace("\"'/><x>&amp;\r\n\ufffd\ufffd]]>\ufffd\ufffd")
	if len(got.Tuples) != 1 || got.Entity != want || got.Tuples[0].Contact != want || got.Notes[0] != (Note{"", want}) || !got.Persons[0].Timestamp.IsZero() {
		t.Errorf("got %+v", got)
	}
}

// RFC 3840 §9's parameters as they stand in Contacts, and what RFC 5196 makes of them.
func TestFromFeatures(t *testing.T) {
	rows := []struct {
		params  sip.Params
		service *ServiceCaps
		device  *DeviceCaps
	}{
		{`;expires=60;+sip.instance="<urn:uuid:1>"`, nil, nil},
		{`;audio;video;mobility="fixed"`, &ServiceCaps{Audio: Yes, Video: Yes}, &DeviceCaps{Mobility: Support{Yes: []string{"fixed"}}}},
		{`;audio="FALSE";text="TRUE";+sip.message;automata="!TRUE";isfocus="!FALSE"`, &ServiceCaps{Audio: No, Text: Yes, Message: Yes, Automata: No, Focus: Yes}, nil},
		{`;methods="INVITE,bye,!MESSAGE";schemes="sip,tel";extensions="100rel,gruu"`, &ServiceCaps{
			Methods: Support{Yes: []string{"INVITE", "BYE"}, No: []string{"MESSAGE"}}, Schemes: Support{Yes: []string{"sip", "tel"}},
			Extensions: Support{Yes: []string{"100rel", "gruu"}}}, nil},
		{`;events="presence,message-summary";language="en,de";actor="msg-taker";class="business";duplex="full";data;control;application;type="<text/HTML>"`, &ServiceCaps{
			Events: Support{Yes: []string{"presence", "message-summary"}}, Languages: Support{Yes: []string{"en", "de"}}, Actor: Support{Yes: []string{"msg-taker"}},
			Class: Support{Yes: []string{"business"}}, Duplex: Support{Yes: []string{"full"}}, Data: Yes, Control: Yes, Application: Yes, Types: []string{"text/html"}}, nil},
		{`;priority="#=1,#>=5,#<=-2,#3:4.5,!#7:8,#x,#nan,9"`, &ServiceCaps{Priority: Ranges{
			Yes: []Range{{1, 1}, {5, AnyMax}, {AnyMin, -2}, {3, 4}}, No: []Range{{7, 8}}}}, nil},
		{`;description="<PC>"`, nil, &DeviceCaps{Descriptions: []Note{{"", "PC"}}}},
	}
	for _, r := range rows {
		s, d := FromFeatures(r.params)
		if diff := cmp.Diff(r.service, s) + cmp.Diff(r.device, d); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.params, diff)
		}
		if s != nil {
			p := &Presence{Tuples: []Tuple{{ID: "t", Basic: Open, Caps: s}}}
			if got, err := Parse(p.Append(nil)); err != nil {
				t.Errorf("%s: %v", r.params, err)
			} else if a, b := p.Append(nil), got.Append(nil); !bytes.Equal(a, b) {
				t.Errorf("%s: changed on the way\n%s\n%s", r.params, a, b)
			}
		}
	}
}

func TestThroughputOf(t *testing.T) {
	for n, want := range map[uint64]Throughput{0: "", 1: Slow, 255_999: Slow, 256_000: Medium, 1_999_999: Medium, 2_000_000: Fast, 1 << 40: Fast} {
		if got := ThroughputOf(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestHas(t *testing.T) {
	if s := values("busy"); !s.Has("busy") || s.Has("away") || (*Set)(nil).Has("busy") {
		t.Error("Set.Has")
	}
	if s := (&Support{Yes: []string{"INVITE"}, No: []string{"BYE"}}); !s.Has("INVITE") || s.Has("BYE") {
		t.Error("Support.Has")
	}
}

func FuzzParse(f *testing.F) {
	for name := range examples {
		f.Add(read(f, name))
	}
	f.Add(everything().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		first := p.Append(nil)
		again, err := Parse(first)
		if err != nil {
			if len(first) > MaxBytes && errors.Is(err, xmlsafe.ErrTooLarge) {
				return // escapes make text longer
			}
			t.Fatalf("what was written cannot be read: %v\n%s", err, first)
		}
		if second := again.Append(nil); !bytes.Equal(first, second) {
			t.Fatalf("not stable:\n%s\n%s", first, second)
		}
	})
}

// typical is what the server composes for somebody with a computer, a phone and a browser.
func typical() *Presence {
	p := &Presence{Entity: "sip:alice@example.org"}
	for i, class := range []DeviceClass{Desktop, Phone, Browser} {
		p.Tuples = append(p.Tuples, Tuple{
			ID: fmt.Sprintf("t%d", i), Basic: Open, DeviceIDs: []string{"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}, Contact: "sip:alice@example.org;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Priority: 800,
			Caps:  &ServiceCaps{Audio: Yes, Video: Yes, Message: Yes, Methods: Support{Yes: []string{"INVITE", "MESSAGE", "NOTIFY", "OPTIONS"}}},
			Extra: Extra{Device: class, Line: Line{30 * time.Millisecond, Fast}}, Timestamp: at("2026-01-05T13:00:00Z"),
		})
	}
	p.Persons = []Person{{ID: "p1", Activities: []Set{{Values: []string{"on-the-phone"}}}, Extra: Extra{Availability: InCall}, Notes: []Note{{"en", "back at 14:00"}}, Timestamp: at("2026-01-05T13:00:00Z")}}
	return p
}

func BenchmarkAppend(b *testing.B) {
	p := typical()
	var room []byte
	b.ReportAllocs()
	for b.Loop() {
		room = p.Append(room[:0])
	}
	b.ReportMetric(float64(len(room)), "B/doc")
}

func BenchmarkParse(b *testing.B) {
	doc := typical().Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(doc); err != nil {
			b.Fatal(err)
		}
	}
}

// What the schema of RFC 4480 §5.1 allows in a set, whatever is put into it.
func TestSets(t *testing.T) {
	text := func(s string) []Note { return []Note{{"", s}} }
	for _, r := range []struct {
		kind *setKind
		set  *Set
		want string
	}{
		{&activityKind, nil, ``},
		{&activityKind, &Set{}, `<rpid:activities></rpid:activities>`},
		{&activityKind, values("unknown"), `<rpid:activities><rpid:unknown/></rpid:activities>`},
		{&activityKind, values("unknown", "busy", "knitting", "<"), `<rpid:activities><rpid:busy/><p:knitting/></rpid:activities>`},
		{&activityKind, &Set{Values: []string{"unknown"}, Other: text("x")}, `<rpid:activities><rpid:other>x</rpid:other></rpid:activities>`},
		{&moodKind, &Set{}, ``},
		{&moodKind, &Set{Notes: text("x")}, `<rpid:mood><rpid:note>x</rpid:note><rpid:unknown/></rpid:mood>`},
		{&moodKind, values("sad", "unknown", "happy"), `<rpid:mood><rpid:sad/><rpid:happy/></rpid:mood>`},
		{&placeKind, &Set{Values: []string{"office"}, Other: text("x")}, `<rpid:place-type><lt:office/></rpid:place-type>`},
		{&placeKind, &Set{Other: []Note{{"", "x"}, {"", "y"}}}, `<rpid:place-type><rpid:other>x</rpid:other></rpid:place-type>`},
		{&privacyKind, values("video", "mine", "audio"), `<rpid:privacy><rpid:audio/><rpid:video/><p:mine/></rpid:privacy>`},
		{&privacyKind, &Set{Other: text("x")}, `<rpid:privacy></rpid:privacy>`},
		{&relationshipKind, values("friend", "family"), `<rpid:relationship><rpid:friend/></rpid:relationship>`},
		{&relationshipKind, &Set{Other: text("x")}, `<rpid:relationship><rpid:other>x</rpid:other></rpid:relationship>`},
		{&serviceClassKind, &Set{Other: text("x")}, ``},
		{&sphereKind, &Set{Other: text("<x>"), Notes: text("y")}, `<rpid:sphere>&lt;x&gt;</rpid:sphere>`},
		{&sphereKind, &Set{Values: []string{"work", "home"}, Other: text("x")}, `<rpid:sphere><rpid:work/></rpid:sphere>`},
	} {
		w := writer{}
		w.set(r.kind, r.set)
		if string(w.b) != r.want {
			t.Errorf("%+v: got %s, want %s", r.set, w.b, r.want)
		}
	}
}
