package compose

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/wire/pidf"
)

// TestWords has texts that clients write where they know no element.
func TestWords(t *testing.T) {
	want := map[pidf.Availability][]string{
		pidf.Available: {"available", "Online", "open", "Ready"},
		pidf.Busy:      {"Busy", " busy "},
		pidf.DND:       {"DND", "Do Not Disturb", "do-not-disturb", "Don't disturb", "Busy (DND)"},
		pidf.InCall:    {"On the phone", "on-the-phone", "in a call", "on a call"},
		pidf.InMeeting: {"In a meeting", "in meeting", "Meeting"},
		pidf.BRB:       {"Be right back", "BRB"},
		pidf.Away:      {"Away", "idle"},
		pidf.Offline:   {"Offline", "closed"},
		"":             {"", "busy until noon", "away from keyboard, for a very long time", "open house"},
	}
	for a, list := range want {
		for _, text := range list {
			if got := wordMeans(text); got != a {
				t.Errorf("%q means %q, want %q", text, got, a)
			}
		}
	}
	for _, a := range []pidf.Availability{pidf.Available, pidf.Busy, pidf.InCall, pidf.InMeeting, pidf.DND, pidf.BRB, pidf.Away, pidf.Offline} {
		doc := document(t, "pc", -1, `<dm:person id="p"><r:activities><p:`+string(a)+`/></r:activities></dm:person>`)
		src := Sources{AOR: alice, Now: now, Devices: []Device{{ID: "pc"}}, Publications: []Publication{doc}}
		if st := Compose(&src); st.Availability != a {
			t.Errorf("an element of our own, %s, makes %s", a, st.Availability)
		}
	}
}

// TestDeviceSays: what a device publishes of itself goes before what the server knows, part by part.
func TestDeviceSays(t *testing.T) {
	known := Device{ID: "pc", Class: pidf.Phone, Line: pidf.Line{RTT: 20 * time.Millisecond, Throughput: pidf.Medium}, MaxMessage: 100,
		Service: &pidf.ServiceCaps{Audio: pidf.Yes}, Caps: &pidf.DeviceCaps{Mobility: pidf.Support{Yes: []string{"mobile"}}}}
	fixed := `<c:devcaps><c:mobility><c:supported><c:fixed/></c:supported></c:mobility></c:devcaps>`
	tests := []struct {
		name, content string
		class         pidf.DeviceClass
		line          pidf.Line
		most          uint32
		mobility      string
		video         pidf.Flag
		note          string
		input         string
	}{
		{"nothing", "", pidf.Phone, known.Line, 100, "mobile", pidf.Untold, "", ""},
		{"in the tuple", `<tuple id="t"><status><basic>open</basic></status><r:user-input>active</r:user-input><c:servcaps><c:video>true</c:video></c:servcaps>
			<p:device>tablet</p:device><p:line throughput="slow"/><p:max-message>7</p:max-message></tuple>`,
			pidf.Tablet, pidf.Line{RTT: 20 * time.Millisecond, Throughput: pidf.Slow}, 7, "mobile", pidf.Yes, "", pidf.Active},
		{"in the device", `<tuple id="t"><status><basic>open</basic></status></tuple><dm:device id="d">` + fixed + `<r:user-input>active</r:user-input>
			<p:device>browser</p:device><p:line rtt="7"/><p:max-message>8</p:max-message><dm:deviceID>urn:x</dm:deviceID><dm:note>by the window</dm:note></dm:device>`,
			pidf.Browser, pidf.Line{RTT: 7 * time.Millisecond, Throughput: pidf.Medium}, 8, "fixed", pidf.Untold, "by the window", pidf.Active},
		{"in both, the tuple wins", `<tuple id="t"><status><basic>open</basic></status><p:device>tablet</p:device><p:line rtt="9"/></tuple>
			<dm:device id="d"><p:device>browser</p:device><p:line rtt="7" throughput="fast"/><dm:deviceID>urn:x</dm:deviceID></dm:device>`,
			pidf.Tablet, pidf.Line{RTT: 9 * time.Millisecond, Throughput: pidf.Fast}, 100, "mobile", pidf.Untold, "", ""},
	}
	for _, test := range tests {
		src := Sources{Devices: []Device{known}, Publications: []Publication{document(t, "pc", -1, test.content)}}
		doc, text := see(t, &src, policy.Colleague.Sight())
		tuple, device := doc.Tuples[1], doc.Devices[0]
		note := textOf(device.Notes)
		if tuple.Extra.Device != test.class || tuple.Extra.Line != test.line || tuple.Extra.MaxMessage != test.most || tuple.UserInput.State != test.input ||
			tuple.Caps.Video != test.video || !slices.Equal(device.Caps.Mobility.Yes, []string{test.mobility}) || note != test.note {
			t.Errorf("%s: %s", test.name, text)
		}
		quiet := policy.Colleague.Sight()
		quiet.Note = false
		if _, text := see(t, &src, quiet); strings.Contains(text, "note>") {
			t.Errorf("%s: a note for who may see none: %s", test.name, text)
		}
	}
}

// TestRich: what RPID and CIPID say besides is passed on to those who see the state, from whoever says it first.
func TestRich(t *testing.T) {
	card := `xmlns:ci="urn:ietf:params:xml:ns:pidf:cipid" xmlns:lt="urn:ietf:params:xml:ns:location-type"`
	one := document(t, "pc", -1, `<tuple id="t"><status><basic>open</basic></status><r:service-class><r:electronic/></r:service-class>
		<r:privacy><r:audio/></r:privacy><r:status-icon>http://x/1.png</r:status-icon><ci:icon `+card+`>http://x/i.png</ci:icon></tuple>
		<dm:person id="p" `+card+`><r:class>secret</r:class><r:mood><r:happy/></r:mood><r:place-is><r:audio><r:noisy/></r:audio></r:place-is>
		<r:place-type><lt:airport/></r:place-type><r:sphere><r:home/></r:sphere><r:status-icon>http://x/2.png</r:status-icon>
		<r:time-offset>-240</r:time-offset><ci:homepage>http://x/</ci:homepage></dm:person>`)
	two := document(t, "zz", -1, `<dm:person id="p"><r:mood><r:angry/></r:mood></dm:person>`)
	src := Sources{Devices: []Device{{ID: "zz"}, {ID: "pc"}}, Publications: []Publication{two, one}}
	rich := []string{"electronic", "<rpid:privacy>", "1.png", "2.png", "i.png", "happy", "noisy", "airport", "-240", "http://x/<"}
	_, text := see(t, &src, policy.Colleague.Sight())
	for _, s := range rich {
		if !strings.Contains(text, s) {
			t.Errorf("no %q in %s", s, text)
		}
	}
	// Classes and spheres are for rules about who sees what (RFC 4480 §3.3 and §3.11), not for watchers.
	_, outside := see(t, &src, policy.Outside.Sight())
	for _, s := range append(rich, "angry", "secret", "home/") {
		if s != "http://x/<" && strings.Contains(outside, s) || strings.Contains("angry secret home/", s) && strings.Contains(text, s) {
			t.Errorf("%q in %s", s, outside)
		}
	}
	basic := policy.Colleague.Sight()
	basic.State = policy.Basic
	if _, text := see(t, &src, basic); strings.Contains(text, "png") || !strings.Contains(text, "<dm:deviceID>") {
		t.Errorf("devices, but only the basics: %s", text)
	}
}

func TestSeveralOfOneName(t *testing.T) {
	// The device that registered last counts.
	src := Sources{Devices: []Device{{ID: "a", Class: pidf.Phone, Since: minutes(-9)}, {ID: "a", Class: pidf.Tablet, Since: minutes(-1)}}}
	doc, text := see(t, &src, policy.Colleague.Sight())
	if len(doc.Tuples) != 2 || doc.Tuples[1].Extra.Device != pidf.Tablet {
		t.Errorf("got %s", text)
	}
	// Publishers that are no devices: the newest document of each, whatever their order.
	alone := func(name string, at int, what, tag string) Publication {
		p := published(t, name, at, "", act(what)+"<dm:note>"+tag+"</dm:note>")
		p.Alone, p.ETag = true, tag
		return p
	}
	pubs := []Publication{alone("door", -3, "away", "c"), alone("calendar", -5, "meeting", "a"), alone("calendar", -2, "vacation", "b"), alone("door", -4, "meeting", "d")}
	for range 2 {
		slices.Reverse(pubs)
		src := Sources{AOR: alice, Now: now, Devices: []Device{{ID: "pc"}}, Publications: pubs}
		if st := Compose(&src); st.Availability != pidf.Away || st.Note != "b" {
			t.Errorf("got %+v", st)
		}
		src.Devices = nil
		if st := Compose(&src); st.Availability != pidf.Offline || st.Note != "b" {
			t.Errorf("offline: %+v", st)
		}
	}
	// Meetings that began at once: the longest, then by name.
	for _, m := range [][]Meeting{{{minutes(-1), minutes(5), "b", ""}, {minutes(-1), minutes(9), "a", ""}}, {{minutes(-1), minutes(9), "a", ""}, {minutes(-1), minutes(9), "0", ""}}} {
		for range 2 {
			slices.Reverse(m)
			src := Sources{Devices: []Device{{ID: "pc"}}, Meetings: m}
			if _, text := see(t, &src, policy.Team.Sight()); !strings.Contains(text, ">a<") {
				t.Errorf("got %s", text)
			}
		}
	}
}

// TestUntil: the end of what decides is told with the state and the activities.
func TestUntil(t *testing.T) {
	doc := document(t, "pc", -1, `<dm:person id="p"><p:availability until="2026-03-04T12:30:00Z">away</p:availability>
		<r:activities until="2026-03-04T12:45:00Z"><r:lunch/></r:activities></dm:person>`)
	src := Sources{Devices: []Device{{ID: "pc"}}, Publications: []Publication{doc}}
	out, text := see(t, &src, policy.Colleague.Sight())
	p := out.Persons[0]
	if !p.Extra.Until.Equal(minutes(30)) || !p.Activities[0].Until.Equal(minutes(30)) || !slices.Equal(p.Activities[0].Values, []string{"away", "lunch"}) {
		t.Errorf("got %s", text)
	}
	// Half an hour later the activity alone says it.
	src.Now = minutes(30)
	if st := Compose(&src); st.Availability != pidf.Away || !st.Until.Equal(minutes(45)) || !st.Next.Equal(minutes(45)) {
		t.Errorf("later: %+v", st)
	}
	src.Now = minutes(45)
	if st := Compose(&src); st.Availability != pidf.Available || !st.Next.Equal(minutes(60)) {
		t.Errorf("at the end: %+v", st)
	}
}
