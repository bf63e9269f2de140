package compose

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// TestRule has a row for each line of the rule, and for each pair of neighbours: the upper one wins.
func TestRule(t *testing.T) {
	pc, phone := Device{ID: "pc", Since: minutes(-60)}, Device{ID: "phone", Class: pidf.Phone, Since: minutes(-30)}
	desk := Device{ID: "desk", Class: pidf.DeskPhone, Since: minutes(-600)}
	by := func(a pidf.Availability) Manual { return Manual{State: a, Set: minutes(-5)} }
	ours := func(a string) string { return "<p:availability>" + a + "</p:availability>" }
	standup := Meeting{From: minutes(-10), Until: minutes(20), Subject: "standup"}
	one, two := []Device{pc}, []Device{pc, phone}
	tests := []struct {
		name   string
		src    Sources
		want   pidf.Availability
		reason Reason
		until  time.Time
		next   time.Time
		idle   time.Time
	}{
		{"nothing is known", Sources{}, pidf.Offline, NoDevice, time.Time{}, time.Time{}, time.Time{}},
		{"a device", Sources{Devices: one}, pidf.Available, DeviceThere, time.Time{}, time.Time{}, time.Time{}},
		{"appear offline, in a call", Sources{Devices: one, Manual: by(pidf.Offline), Calls: Calls{Talking: 1}},
			pidf.Offline, AppearOffline, time.Time{}, time.Time{}, time.Time{}},
		{"appear offline until", Sources{Devices: one, Manual: Manual{State: pidf.Offline, Until: minutes(5)}},
			pidf.Offline, AppearOffline, minutes(5), minutes(5), time.Time{}},
		{"appear offline without a device", Sources{Manual: by(pidf.Offline)}, pidf.Offline, AppearOffline, time.Time{}, time.Time{}, time.Time{}},
		{"no device, dnd", Sources{Manual: by(pidf.DND)}, pidf.Offline, NoDevice, time.Time{}, time.Time{}, time.Time{}},
		{"no device, in a call", Sources{Calls: Calls{Talking: 1}}, pidf.Offline, NoDevice, time.Time{}, time.Time{}, time.Time{}},
		{"no device, published", Sources{Publications: []Publication{published(t, "pc", -1, "open", act("busy"))}},
			pidf.Offline, NoDevice, time.Time{}, time.Time{}, time.Time{}},
		{"closed", Sources{Devices: one, Publications: []Publication{published(t, "pc", -1, "closed", "")}},
			pidf.Offline, DevicesClosed, time.Time{}, minutes(60), time.Time{}},
		{"closed, dnd", Sources{Devices: one, Manual: by(pidf.DND), Publications: []Publication{published(t, "pc", -1, "closed", "")}},
			pidf.Offline, DevicesClosed, time.Time{}, minutes(60), time.Time{}},
		{"one of two is closed", Sources{Devices: two, Publications: []Publication{published(t, "pc", -1, "closed", "")}},
			pidf.Available, DeviceThere, time.Time{}, minutes(60), time.Time{}},
		{"dnd by hand, in a call", Sources{Devices: one, Manual: Manual{State: pidf.DND, Until: minutes(30)}, Calls: Calls{Talking: 1}},
			pidf.DND, ManualDND, minutes(30), minutes(30), time.Time{}},
		{"dnd published, in a call", Sources{Devices: one, Calls: Calls{Talking: 1}, Publications: []Publication{published(t, "pc", -1, "open", ours("dnd"))}},
			pidf.DND, PublishedDND, time.Time{}, minutes(60), time.Time{}},
		{"dnd published, available by hand", Sources{Devices: one, Manual: by(pidf.Available), Publications: []Publication{published(t, "pc", -1, "open", ours("dnd"))}},
			pidf.DND, PublishedDND, time.Time{}, minutes(60), time.Time{}},
		{"dnd as clients say it: busy and closed", Sources{Devices: one, Publications: []Publication{published(t, "pc", -1, "closed", act("busy"))}},
			pidf.DND, PublishedDND, time.Time{}, minutes(60), time.Time{}},
		{"in a call, busy by hand", Sources{Devices: one, Calls: Calls{Talking: 2}, Manual: by(pidf.Busy)}, pidf.InCall, Talking, time.Time{}, time.Time{}, time.Time{}},
		{"ringing is no call", Sources{Devices: one, Calls: Calls{Ringing: 1}}, pidf.Available, DeviceThere, time.Time{}, time.Time{}, time.Time{}},
		{"call published, available by hand", Sources{Devices: one, Manual: by(pidf.Available), Publications: []Publication{published(t, "pc", -1, "open", act("on-the-phone"))}},
			pidf.InCall, PublishedCall, time.Time{}, minutes(60), time.Time{}},
		{"busy by hand, meeting published", Sources{Devices: one, Manual: Manual{State: pidf.Busy, Until: minutes(3)}, Publications: []Publication{published(t, "pc", -1, "open", act("meeting"))}},
			pidf.Busy, ManualState, minutes(3), minutes(3), time.Time{}},
		{"by hand has ended", Sources{Devices: one, Manual: Manual{State: pidf.Busy, Until: minutes(-3)}, Publications: []Publication{published(t, "pc", -1, "open", act("meeting"))}},
			pidf.InMeeting, PublishedMeeting, time.Time{}, minutes(60), time.Time{}},
		{"available by hand, all idle, meeting", Sources{Devices: one, Manual: by(pidf.Available), Meetings: []Meeting{standup}, Publications: []Publication{published(t, "pc", -1, "open", idle)}},
			pidf.Available, ManualState, time.Time{}, minutes(20), minutes(-20)},
		{"away by hand", Sources{Devices: one, Manual: by(pidf.Away)}, pidf.Away, ManualState, time.Time{}, time.Time{}, time.Time{}},
		{"be right back by hand", Sources{Devices: one, Manual: by(pidf.BRB)}, pidf.BRB, ManualState, time.Time{}, time.Time{}, time.Time{}},
		{"what is no state counts for nothing", Sources{Devices: one, Manual: by("asleep")}, pidf.Available, DeviceThere, time.Time{}, time.Time{}, time.Time{}},
		{"meeting before busy, of two devices", Sources{Devices: two, Publications: []Publication{published(t, "pc", -9, "open", act("meeting")), published(t, "phone", -1, "open", act("busy"))}},
			pidf.InMeeting, PublishedMeeting, time.Time{}, minutes(60), time.Time{}},
		{"busy before away, of two devices", Sources{Devices: two, Publications: []Publication{published(t, "pc", -9, "open", act("busy")), published(t, "phone", -1, "open", act("away"))}},
			pidf.Busy, PublishedBusy, time.Time{}, minutes(60), time.Time{}},
		{"busy before a later available", Sources{Devices: two, Publications: []Publication{published(t, "pc", -9, "open", act("busy")), published(t, "phone", -1, "open", "")}},
			pidf.Busy, PublishedBusy, time.Time{}, minutes(60), time.Time{}},
		{"busy published, calendar", Sources{Devices: one, Meetings: []Meeting{standup}, Publications: []Publication{published(t, "pc", -1, "open", act("busy"))}},
			pidf.Busy, PublishedBusy, time.Time{}, minutes(20), time.Time{}},
		{"away published, calendar", Sources{Devices: one, Meetings: []Meeting{standup}, Publications: []Publication{published(t, "pc", -1, "open", act("away"))}},
			pidf.Away, PublishedAway, time.Time{}, minutes(20), time.Time{}},
		{"away, later another device is there", Sources{Devices: two, Publications: []Publication{published(t, "pc", -9, "open", act("away")), published(t, "phone", -1, "open", "")}},
			pidf.Available, DeviceThere, time.Time{}, minutes(60), time.Time{}},
		{"another device is there, later away", Sources{Devices: two, Publications: []Publication{published(t, "pc", -1, "open", act("away")), published(t, "phone", -9, "open", "")}},
			pidf.Away, PublishedAway, time.Time{}, minutes(60), time.Time{}},
		{"away, later another device is idle", Sources{Devices: two, Publications: []Publication{published(t, "pc", -9, "open", ours("brb")), published(t, "phone", -1, "open", idle)}},
			pidf.BRB, PublishedAway, time.Time{}, minutes(60), time.Time{}},
		{"calendar, all idle", Sources{Devices: one, Meetings: []Meeting{standup}, Publications: []Publication{published(t, "pc", -1, "open", idle)}},
			pidf.InMeeting, Calendar, minutes(20), minutes(20), minutes(-20)},
		{"meetings to come and gone", Sources{Devices: one, Meetings: []Meeting{{From: minutes(40), Until: minutes(50)}, {From: minutes(-40), Until: now}}},
			pidf.Available, DeviceThere, time.Time{}, minutes(40), time.Time{}},
		{"two meetings at once", Sources{Devices: one, Meetings: []Meeting{standup, {From: minutes(-5), Until: minutes(10)}, {From: minutes(-60), Until: minutes(90)}}},
			pidf.InMeeting, Calendar, minutes(10), minutes(10), time.Time{}},
		{"idle", Sources{Devices: one, Publications: []Publication{published(t, "pc", -1, "open", idle)}},
			pidf.Away, DevicesIdle, time.Time{}, minutes(60), minutes(-20)},
		{"idle, since when is not told", Sources{Devices: one, Publications: []Publication{published(t, "pc", -7, "open", "<r:user-input>idle</r:user-input>")}},
			pidf.Away, DevicesIdle, time.Time{}, minutes(60), minutes(-7)},
		{"one of two is idle", Sources{Devices: two, Publications: []Publication{published(t, "pc", -1, "open", idle)}},
			pidf.Available, DeviceThere, time.Time{}, minutes(60), time.Time{}},
		{"both are idle, the later input counts", Sources{Devices: two, Publications: []Publication{published(t, "pc", -1, "open", idle), published(t, "phone", -1, "open", strings.Replace(idle, "11:40", "11:50", 1))}},
			pidf.Away, DevicesIdle, time.Time{}, minutes(60), minutes(-10)},
		{"a closed one does not keep anybody there", Sources{Devices: two, Publications: []Publication{published(t, "pc", -1, "open", idle), published(t, "phone", -1, "closed", "")}},
			pidf.Away, DevicesIdle, time.Time{}, minutes(60), minutes(-20)},
		{"nor does a desk phone that does not tell", Sources{Devices: []Device{pc, desk}, Publications: []Publication{published(t, "pc", -1, "open", idle)}},
			pidf.Away, DevicesIdle, time.Time{}, minutes(60), minutes(-20)},
		{"but alone it does", Sources{Devices: []Device{desk}}, pidf.Available, DeviceThere, time.Time{}, time.Time{}, time.Time{}},
		{"idle devices in a call are in use", Sources{Devices: one, Calls: Calls{Talking: 1}, Publications: []Publication{published(t, "pc", -1, "open", idle)}},
			pidf.InCall, Talking, time.Time{}, minutes(60), time.Time{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.src.AOR, test.src.Now = alice, now
			st := Compose(&test.src)
			if st.Availability != test.want || st.Reason != test.reason {
				t.Errorf("got %s because %q, want %s because %q", st.Availability, st.Reason, test.want, test.reason)
			}
			if !st.Until.Equal(test.until) || !st.Next.Equal(test.next) || !st.IdleSince.Equal(test.idle) {
				t.Errorf("until %v, next %v, idle since %v", st.Until, st.Next, st.IdleSince)
			}
			checkExplanation(t, &test.src, &st)
		})
	}
}

// checkExplanation wants a line that wins, unless nothing is there to win.
func checkExplanation(t *testing.T, src *Sources, st *State) {
	t.Helper()
	wins := 0
	for _, l := range Explain(src, st) {
		if l.Says == "" || l.Source == "" {
			t.Errorf("an empty line: %+v", l)
		}
		if l.Wins {
			wins++
		}
	}
	if wins == 0 {
		t.Errorf("no line of the explanation wins: %+v", Explain(src, st))
	}
}

// TestPublications is about which publications count, and how they are read.
func TestPublications(t *testing.T) {
	with := func(p Publication, f func(*Publication)) Publication {
		f(&p)
		return p
	}
	from := func(content string) []Publication { return []Publication{document(t, "pc", -1, content)} }
	tuple := func(content string) []Publication { return from(`<tuple id="t">` + content + `</tuple>`) }
	busy := published(t, "pc", -5, "open", act("busy"))
	tests := []struct {
		name string
		pubs []Publication
		want pidf.Availability
	}{
		{"the newest of one device", []Publication{with(published(t, "pc", -1, "open", ""), func(p *Publication) { p.ETag = "0" }), busy}, pidf.Available},
		{"the newest, in any order", []Publication{busy, published(t, "pc", -1, "open", "")}, pidf.Available},
		{"of two at once the same one", []Publication{busy, with(published(t, "pc", -5, "open", ""), func(p *Publication) { p.ETag = "zz" })}, pidf.Available},
		{"expired", []Publication{with(busy, func(p *Publication) { p.Expires = now })}, pidf.Available},
		{"without an end", []Publication{with(busy, func(p *Publication) { p.Expires = time.Time{} })}, pidf.Busy},
		{"of a device that is gone", []Publication{with(busy, func(p *Publication) { p.Device = "tablet" })}, pidf.Available},
		{"of a publisher that is no device", []Publication{with(busy, func(p *Publication) { p.Device, p.Alone = "calendar", true })}, pidf.Busy},
		{"closed by a publisher that is no device", []Publication{with(published(t, "door", -1, "closed", ""), func(p *Publication) { p.Alone = true })}, pidf.Available},
		{"about somebody else", []Publication{with(busy, func(p *Publication) { d := *p.Doc; d.Entity = "sip:bob@example.com"; p.Doc = &d })}, pidf.Available},
		{"about the person, as pres", []Publication{with(busy, func(p *Publication) { d := *p.Doc; d.Entity = "pres:Alice@EXAMPLE.com;x=y"; p.Doc = &d })}, pidf.Busy},
		{"about the person, with a port", []Publication{with(busy, func(p *Publication) { d := *p.Doc; d.Entity = "sip:alice@example.com:5060"; p.Doc = &d })}, pidf.Busy},
		{"about nobody", []Publication{with(busy, func(p *Publication) { d := *p.Doc; d.Entity = ""; p.Doc = &d })}, pidf.Busy},
		{"nothing", []Publication{with(busy, func(p *Publication) { p.Doc = nil })}, pidf.Available},
		{"activities that are over", from(`<dm:person id="p"><r:activities until="2026-03-04T11:00:00Z"><r:busy/></r:activities></dm:person>`), pidf.Available},
		{"activities to come", from(`<dm:person id="p"><r:activities from="2026-03-04T13:00:00Z"><r:busy/></r:activities></dm:person>`), pidf.Available},
		{"activities of this hour", from(`<dm:person id="p"><r:activities from="2026-03-04T11:00:00Z" until="2026-03-04T13:00:00Z"><r:busy/></r:activities></dm:person>`), pidf.Busy},
		{"our own word that is over", from(`<dm:person id="p"><p:availability until="2026-03-04T11:00:00Z">dnd</p:availability></dm:person>`), pidf.Available},
		{"our own word and the nearest activity", from(`<dm:person id="p">` + act("busy") + `<p:availability>dnd</p:availability></dm:person>`), pidf.DND},
		{"two activities", published1(t, act("lunch", "on-the-phone")), pidf.InCall},
		{"activities, drafts in the tuple", tuple(`<status><basic>open</basic>` + act("meeting") + `</status>`), pidf.InMeeting},
		{"an activity in other words", from(`<dm:person id="p"><r:activities><r:other>Do Not Disturb</r:other></r:activities></dm:person>`), pidf.DND},
		{"the note is the state", tuple(`<status><basic>open</basic></status><note>busy</note>`), pidf.Busy},
		{"the note is a note", tuple(`<status><basic>open</basic></status><note>busy bees are my favourites</note>`), pidf.Available},
		{"the note against activities", from(`<tuple id="t"><status><basic>open</basic></status><note>busy</note></tuple><dm:person id="p">` + act("away") + `</dm:person>`), pidf.Away},
		{"a secretary's tuple", tuple(`<status><basic>closed</basic></status><r:relationship><r:assistant/></r:relationship>`), pidf.Available},
		{"closed for mail, open for the rest", from(`<tuple id="a"><status><basic>closed</basic></status></tuple><tuple id="b"><status><basic>open</basic></status></tuple>`), pidf.Available},
		{"away and closed is away", []Publication{published(t, "pc", -1, "closed", act("away"))}, pidf.Away},
		{"permanent absence", published1(t, act("permanent-absence")), pidf.Offline},
		{"a state in our words on a tuple", tuple(`<status><basic>open</basic></status><p:availability>in-meeting</p:availability>`), pidf.InMeeting},
		{"an empty set of activities", published1(t, "<r:activities/>"), pidf.Available},
		{"an activity nobody knows", from(`<dm:person id="p"><r:activities><r:juggling/></r:activities></dm:person>`), pidf.Available},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			src := Sources{AOR: alice, Now: now, Devices: []Device{{ID: "pc"}}, Publications: test.pubs}
			st := Compose(&src)
			if st.Availability != test.want {
				t.Errorf("got %s because %q, want %s", st.Availability, st.Reason, test.want)
			}
			checkExplanation(t, &src, &st)
		})
	}
}

func published1(t *testing.T, person string) []Publication {
	t.Helper()
	return []Publication{published(t, "pc", -1, "open", person)}
}

// TestActivities has all activities of RFC 4480 §3.2.
func TestActivities(t *testing.T) {
	want := map[pidf.Availability][]string{
		pidf.InCall:    {"on-the-phone"},
		pidf.InMeeting: {"meeting", "presentation"},
		pidf.Busy:      {"appointment", "busy", "performance", "steering", "worship"},
		pidf.Away: {"away", "breakfast", "dinner", "holiday", "in-transit", "lunch", "meal", "playing", "shopping", "sleeping",
			"spectator", "travel", "tv", "vacation"},
		pidf.Available: {"looking-for-work", "working"},
		"":             {"unknown"}, // but the device is there
		pidf.Offline:   {"permanent-absence"},
	}
	count := 0
	for a, list := range want {
		for _, name := range list {
			count++
			src := Sources{AOR: alice, Now: now, Devices: []Device{{ID: "pc"}}, Publications: published1(t, act(name))}
			made := a
			if a == "" {
				made = pidf.Available
			}
			if st := Compose(&src); activityMeans(name) != a || st.Availability != made {
				t.Errorf("%s makes the person %s, want %s", name, st.Availability, made)
			}
		}
	}
	if count != 26 {
		t.Errorf("%d activities, RFC 4480 has 26", count)
	}
	page, err := os.ReadFile("../../../docs/presence.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range want {
		// One row of the table there has them all and no other.
		var row string
		for _, l := range strings.Split(string(page), "\n") {
			if row == "" && strings.HasPrefix(l, "| `") && strings.Contains(l, "`"+list[0]+"`") {
				row = l
			}
		}
		for _, name := range list {
			if !strings.Contains(row, "`"+name+"`") {
				t.Errorf("docs/presence.md has no %s in the row %q", name, row)
			}
		}
	}
}

func TestNotes(t *testing.T) {
	note := func(device string, at int, text string) Publication {
		return published(t, device, at, "open", "<dm:note>"+text+"</dm:note>")
	}
	devices := []Device{{ID: "pc"}, {ID: "phone"}}
	tests := []struct {
		name string
		src  Sources
		want string
	}{
		{"by hand", Sources{Devices: devices, Manual: Manual{Note: "back at 14:00"}, Publications: []Publication{note("pc", -1, "x")}}, "back at 14:00"},
		{"by hand, over", Sources{Devices: devices, Manual: Manual{Note: "back at 14:00", Until: minutes(-1)}, Publications: []Publication{note("pc", -1, "x")}}, "x"},
		{"the newest", Sources{Devices: devices, Publications: []Publication{note("pc", -1, "x"), note("phone", -2, "y")}}, "x"},
		{"offline, by hand", Sources{Manual: Manual{Note: "gone fishing"}}, "gone fishing"},
		{"appear offline", Sources{Devices: devices, Manual: Manual{State: pidf.Offline}, Publications: []Publication{note("pc", -1, "x")}}, ""},
		{"of activities", Sources{Devices: devices, Publications: published1(t, "<r:activities><r:note>tea</r:note><r:meal/></r:activities>")}, "tea"},
		{"of the document", Sources{Devices: devices, Publications: []Publication{document(t, "pc", -1, "<note>all of it</note>")}}, "all of it"},
		{"the name of a state", Sources{Devices: devices, Publications: []Publication{document(t, "pc", -1, "<note>Online</note>")}}, ""},
		{"too long", Sources{Devices: devices, Manual: Manual{Note: strings.Repeat("ä", 501) + "."}}, strings.Repeat("ä", 500)},
		{"too long, cut in a character", Sources{Devices: devices, Manual: Manual{Note: "." + strings.Repeat("ä", 501)}}, "." + strings.Repeat("ä", 499)},
	}
	for _, test := range tests {
		test.src.AOR, test.src.Now = alice, now
		if st := Compose(&test.src); st.Note != test.want {
			t.Errorf("%s: got %q, want %q", test.name, st.Note, test.want)
		}
	}
}
