package compose

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/wire/pidf"
)

// see composes and views, and checks what holds for every document.
func see(t testing.TB, src *Sources, s policy.Sight) (*pidf.Presence, string) {
	t.Helper()
	src.AOR, src.Now = alice, now
	st := Compose(src)
	doc := View(src, &st, s)
	text := doc.Append(nil)
	again := *doc
	again.Normalize()
	if b := again.Append(nil); !bytes.Equal(b, text) {
		t.Fatalf("the document was not normal:\n%s\n%s", text, b)
	}
	if b := View(src, &st, s).Append(nil); !bytes.Equal(b, text) {
		t.Fatalf("the same sources gave another document:\n%s\n%s", text, b)
	}
	parsed, err := pidf.Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if b := parsed.Append(nil); !bytes.Equal(b, text) {
		t.Fatalf("it was read as something else:\n%s\n%s", text, b)
	}
	if len(doc.Tuples) == 0 || doc.Tuples[0].ID != addressID || len(doc.Persons) != 1 {
		t.Fatalf("no tuple of the address, or no person:\n%s", text)
	}
	return doc, string(text)
}

// everything is a person of whom everything is known.
func everything(t testing.TB) *Sources {
	t.Helper()
	return &Sources{
		AOR: alice, Now: now,
		Devices: []Device{
			{ID: "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Contact: "sip:alice@example.com;gr=x", Class: pidf.Phone,
				Line: pidf.Line{RTT: 85e6, Throughput: pidf.Slow}, MaxMessage: 2000, Q: 500, Since: minutes(-30),
				Service: &pidf.ServiceCaps{Audio: pidf.Yes, Message: pidf.Yes, Methods: pidf.Support{Yes: []string{"INVITE", "MESSAGE"}}},
				Caps:    &pidf.DeviceCaps{Mobility: pidf.Support{Yes: []string{"mobile"}}}},
			{ID: "plain", Class: pidf.Desktop, Q: 1000, Since: minutes(-90)},
		},
		Publications: []Publication{document(t, "plain", -4, `<tuple id="x"><status><basic>open</basic></status>`+idle+
			`<c:servcaps><c:video>true</c:video></c:servcaps><p:max-message>9000</p:max-message><p:line rtt="3" throughput="fast"/>
			<contact>sip:alice@192.168.1.7:5060</contact><note>in the study</note></tuple>
			<dm:person id="p">`+act("meeting")+`<r:mood><r:happy/></r:mood></dm:person>`)},
		Manual:   Manual{State: pidf.Busy, Note: "back at 14:00", Until: minutes(120), Set: minutes(-3)},
		Meetings: []Meeting{{From: minutes(-15), Until: minutes(45), Subject: "budget", Place: "room 4"}},
	}
}

// TestSights shows what each level sees: the table of docs/presence.md.
func TestSights(t *testing.T) {
	full := []string{"budget", "room 4"}
	devices := []string{"<note>in the study", "MESSAGE", "<c:video>true", "<p:device>phone", "<p:device>desktop", "max-message>9000", "max-message>2000",
		`rtt="85"`, `rtt="3"`, ">idle<", "sip:alice@example.com;gr=x", "<c:mobile/>"}
	colleague := []string{">back at 14:00<", `until="2026-03-04T14:00:00Z">busy<`, "<rpid:meeting/>", `until="2026-03-04T12:45:00Z"`, "<rpid:happy/>"}
	never := []string{"f81d4fae", "plain", "192.168"}
	tests := []struct {
		level     policy.Level
		has, lack [][]string
	}{
		{policy.Blocked, [][]string{{"<basic>closed", ">offline<"}}, [][]string{full, devices, colleague, never, {"activities", "busy", "2026"}}},
		{policy.Outside, [][]string{{"<basic>open", ">busy<", "<rpid:busy/>"}}, [][]string{full, devices, colleague, never, {"2026"}}},
		{policy.Colleague, [][]string{devices, colleague, {"<basic>open"}}, [][]string{full, never}},
		{policy.Team, [][]string{devices, colleague, full}, [][]string{never}},
		{policy.Close, [][]string{devices, colleague, full}, [][]string{never}},
	}
	for _, test := range tests {
		_, text := see(t, everything(t), test.level.Sight())
		for _, list := range test.has {
			for _, s := range list {
				if !strings.Contains(text, s) {
					t.Errorf("%v does not see %q in\n%s", test.level, s, text)
				}
			}
		}
		for _, list := range test.lack {
			for _, s := range list {
				if strings.Contains(text, s) {
					t.Errorf("%v sees %q in\n%s", test.level, s, text)
				}
			}
		}
	}
}

// TestOffline: to be offline, to appear offline and to have blocked somebody are one document, but for a note that
// whoever may see it sees in both.
func TestOffline(t *testing.T) {
	for _, level := range []policy.Level{policy.Blocked, policy.Outside, policy.Colleague, policy.Team, policy.Close} {
		for _, note := range []string{"", "gone fishing"} {
			really := Sources{Manual: Manual{Note: note}}
			appears := everything(t)
			appears.Manual = Manual{State: pidf.Offline, Note: note, Until: minutes(9), Set: minutes(-1)}
			appears.Calls = Calls{Talking: 1}
			closed := Sources{Manual: Manual{Note: note}, Devices: []Device{{ID: "pc"}}, Publications: []Publication{published(t, "pc", -1, "closed", "")}}
			_, want := see(t, &really, level.Sight())
			if _, got := see(t, appears, level.Sight()); got != want {
				t.Errorf("%v can tell offline from appearing offline:\n%s\n%s", level, want, got)
			}
			if _, got := see(t, &closed, level.Sight()); got != want {
				t.Errorf("%v can tell offline from closed:\n%s\n%s", level, want, got)
			}
			if note == "" {
				if _, got := see(t, everything(t), policy.Blocked.Sight()); got != want {
					t.Errorf("blocked people can tell, as %v sees:\n%s\n%s", level, want, got)
				}
			}
		}
	}
}

// TestSimpleClients is about those that look at the first tuple, the activities and the note.
func TestSimpleClients(t *testing.T) {
	tests := []struct {
		state      pidf.Availability
		activities string
		note       string
		outside    pidf.Availability
	}{
		{pidf.Available, "", "", pidf.Available},
		{pidf.Busy, "busy", "", pidf.Busy},
		{pidf.InCall, "on-the-phone", "", pidf.Busy},
		{pidf.InMeeting, "meeting", "", pidf.Busy},
		{pidf.DND, "busy", "Do not disturb", pidf.Busy},
		{pidf.BRB, "away", "Be right back", pidf.Away},
		{pidf.Away, "away", "", pidf.Away},
	}
	for _, test := range tests {
		src := Sources{Devices: []Device{{ID: "pc"}}, Manual: Manual{State: test.state}}
		doc, text := see(t, &src, policy.Colleague.Sight())
		person, note := doc.Persons[0], ""
		if len(doc.Tuples[0].Notes) > 0 {
			note = doc.Tuples[0].Notes[0].Text
		}
		activities := ""
		if len(person.Activities) > 0 {
			activities = strings.Join(person.Activities[0].Values, " ")
		}
		if doc.Tuples[0].Basic != pidf.Open || activities != test.activities || note != test.note || person.Extra.Availability != test.state {
			t.Errorf("%s as %s", test.state, text)
		}
		if !reflect.DeepEqual(doc.Tuples[0].Notes, person.Notes) {
			t.Errorf("the notes of tuple and person differ: %s", text)
		}
		doc, text = see(t, &src, policy.Outside.Sight())
		if got := doc.Persons[0].Extra.Availability; got != test.outside || len(doc.Persons[0].Notes) > 0 {
			t.Errorf("%s as %s from outside: %s", test.state, got, text)
		}
		src.Manual.Note = "mine"
		if doc, text = see(t, &src, policy.Colleague.Sight()); len(doc.Persons[0].Notes) != 1 || doc.Persons[0].Notes[0].Text != "mine" {
			t.Errorf("%s with a note as %s", test.state, text)
		}
	}
}

func TestActivitiesShown(t *testing.T) {
	meeting := []Meeting{{From: minutes(-15), Until: minutes(45), Subject: "budget"}}
	withOther := document(t, "pc", -1, `<dm:person id="p"><r:activities until="2026-03-04T13:00:00Z"><r:vacation/><r:other>fishing</r:other></r:activities></dm:person>`)
	inWords := document(t, "pc", -1, `<dm:person id="p"><r:activities><r:other>Do Not Disturb</r:other><r:other>really</r:other></r:activities>
		<dm:note>x</dm:note></dm:person>`)
	hidden := policy.Team.Sight()
	hidden.Calendar = policy.Nothing
	tests := []struct {
		name  string
		src   Sources
		sight policy.Sight
		want  []string
		lack  []string
	}{
		{"published ones follow the one that clients know", Sources{Publications: []Publication{withOther}}, policy.Colleague.Sight(),
			[]string{`<rpid:activities until="2026-03-04T13:00:00Z"><rpid:away/><rpid:vacation/><rpid:other>fishing</rpid:other></rpid:activities>`}, nil},
		{"published ones that did not win", Sources{Publications: []Publication{withOther}, Manual: Manual{State: pidf.Busy}}, policy.Colleague.Sight(),
			[]string{`<rpid:activities><rpid:busy/></rpid:activities>`}, []string{"vacation", "fishing"}},
		{"working is no activity of somebody who is available", Sources{Publications: published1(t, act("working"))}, policy.Colleague.Sight(),
			[]string{">available<"}, []string{"activities"}},
		{"calling in a meeting", Sources{Calls: Calls{Talking: 1}, Meetings: meeting}, policy.Team.Sight(),
			[]string{"<rpid:activities><rpid:on-the-phone/></rpid:activities>", `until="2026-03-04T12:45:00Z"><rpid:note>budget</rpid:note><rpid:meeting/>`}, nil},
		{"a meeting, colleague", Sources{Meetings: meeting}, policy.Colleague.Sight(), []string{">in-meeting<", "<rpid:meeting/>", "12:45"}, []string{"budget"}},
		{"a meeting, the calendar hidden", Sources{Meetings: meeting}, hidden, []string{">busy<", "<rpid:busy/>"}, []string{"meeting", "budget", "12:45"}},
		{"in words of its own", Sources{Publications: []Publication{inWords}}, policy.Colleague.Sight(),
			[]string{">dnd<", `<rpid:activities><rpid:busy/><rpid:other>really</rpid:other></rpid:activities>`}, []string{"Not Disturb"}},
		{"no activity twice", Sources{Publications: published1(t, act("busy", "worship"))}, policy.Colleague.Sight(),
			[]string{"<rpid:activities><rpid:busy/><rpid:worship/></rpid:activities>"}, nil},
		{"away from a meeting", Sources{Meetings: meeting, Manual: Manual{State: pidf.BRB}}, policy.Team.Sight(), []string{">brb<"}, []string{"meeting", "budget"}},
		{"blocked, whatever else may be seen", Sources{Manual: Manual{State: pidf.Busy, Note: "here"}}, policy.Sight{Note: true, Device: true, Calendar: policy.Full},
			[]string{">offline<"}, []string{"here", "busy", "deviceID"}},
		{"a meeting that is missed", Sources{Meetings: meeting, Manual: Manual{State: pidf.Available}}, policy.Team.Sight(), []string{">available<"}, []string{"meeting", "budget"}},
	}
	for _, test := range tests {
		test.src.Devices = []Device{{ID: "pc"}}
		_, text := see(t, &test.src, test.sight)
		for _, s := range test.want {
			if !strings.Contains(text, s) {
				t.Errorf("%s: no %q in\n%s", test.name, s, text)
			}
		}
		for _, s := range test.lack {
			if strings.Contains(text, s) {
				t.Errorf("%s: %q in\n%s", test.name, s, text)
			}
		}
	}
}

// TestDevices: one tuple each, whatever the order; names that stay, are nobody else's, and do not tell the instance.
func TestDevices(t *testing.T) {
	src := everything(t)
	doc, text := see(t, src, policy.Colleague.Sight())
	if len(doc.Tuples) != 3 || len(doc.Devices) != 1 {
		t.Fatalf("not two devices: %s", text)
	}
	src.Devices[0], src.Devices[1] = src.Devices[1], src.Devices[0]
	if _, other := see(t, src, policy.Colleague.Sight()); other != text {
		t.Errorf("the order of registrations shows:\n%s\n%s", text, other)
	}
	if d := doc.Devices[0]; d.DeviceID != doc.Tuples[2].DeviceIDs[0] || d.DeviceID == doc.Tuples[1].DeviceIDs[0] {
		t.Errorf("the element about the device does not belong to its tuple: %s", text)
	}
	src.Devices = src.Devices[:1]
	less, _ := see(t, src, policy.Colleague.Sight())
	if len(less.Tuples) != 2 || less.Tuples[1].ID != doc.Tuples[1].ID {
		t.Errorf("the name changed with the number of devices")
	}
	src.Devices = append(src.Devices, src.Devices[0])
	if twice, text := see(t, src, policy.Colleague.Sight()); len(twice.Tuples) != 2 {
		t.Errorf("a device is there twice: %s", text)
	}
	st := Compose(src)
	src.AOR = "bob@example.com"
	if bob := View(src, &st, policy.Colleague.Sight()); bob.Tuples[1].ID == doc.Tuples[1].ID || bob.Tuples[1].DeviceIDs[0] == doc.Tuples[1].DeviceIDs[0] {
		t.Error("devices of two people have the same name")
	}
	src.Devices = nil
	for i := range 100 {
		src.Devices = append(src.Devices, Device{ID: strings.Repeat("x", i+1)})
	}
	if many, _ := see(t, src, policy.Colleague.Sight()); len(many.Tuples) != 1+maxDevices {
		t.Errorf("%d tuples", len(many.Tuples))
	}
}

// TestClosedDevice: the person is there on another one.
func TestClosedDevice(t *testing.T) {
	src := Sources{Devices: []Device{{ID: "a"}, {ID: "b"}}, Publications: []Publication{published(t, "a", -1, "closed", "")}}
	doc, text := see(t, &src, policy.Colleague.Sight())
	if len(doc.Tuples) != 3 || doc.Tuples[0].Basic != pidf.Open || doc.Tuples[1].Basic != pidf.Closed || doc.Tuples[2].Basic != pidf.Open {
		t.Errorf("open and closed are not where they belong:\n%s", text)
	}
	if _, text := see(t, &src, policy.Outside.Sight()); strings.Contains(text, "closed") {
		t.Errorf("outside sees a device:\n%s", text)
	}
}

// TestHuge: whatever is published, the document can be read.
func TestHuge(t *testing.T) {
	long := strings.Repeat("&quot;", 3000)
	var caps strings.Builder
	for range 2000 {
		caps.WriteString("<c:x/>")
	}
	src := Sources{Manual: Manual{Note: strings.Repeat(`"`, 5000)}, Meetings: []Meeting{{From: minutes(-1), Until: minutes(1), Subject: strings.Repeat(`&`, 5000)}}}
	for i := range 40 {
		id := strings.Repeat("d", i+1)
		src.Devices = append(src.Devices, Device{ID: id, Contact: "sip:" + strings.Repeat("&", 400), Class: pidf.DeskPhone, MaxMessage: 1 << 31, Line: pidf.Line{RTT: 1e9, Throughput: pidf.Slow}})
		src.Publications = append(src.Publications, document(t, id, -i, `<tuple id="t"><status><basic>open</basic></status>`+idle+`
			<c:servcaps><c:methods><c:supported>`+caps.String()+`</c:supported></c:methods></c:servcaps><note>`+long+`</note></tuple>
			<dm:person id="p"><r:activities><r:other>`+long+`</r:other><r:busy/></r:activities></dm:person>`))
	}
	_, text := see(t, &src, policy.Close.Sight())
	t.Logf("%d bytes", len(text))
}

func BenchmarkView(b *testing.B) {
	src := everything(b)
	st := Compose(src)
	for _, level := range []policy.Level{policy.Blocked, policy.Outside, policy.Colleague, policy.Close} {
		b.Run(level.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				View(src, &st, level.Sight())
			}
		})
	}
}

func BenchmarkCompose(b *testing.B) {
	src := everything(b)
	b.ReportAllocs()
	for b.Loop() {
		Compose(src)
	}
}

func BenchmarkAppend(b *testing.B) {
	src := everything(b)
	st := Compose(src)
	doc := View(src, &st, policy.Colleague.Sight())
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = doc.Append(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}
