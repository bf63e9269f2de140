package compose

import (
	"slices"
	"testing"

	"github.com/parley-im/parley/wire/pidf"
)

func TestExplain(t *testing.T) {
	gone := published(t, "tablet", -2, "open", act("meeting"))
	over := published(t, "pc", -100, "open", act("meeting"))
	over.Expires = minutes(-40)
	foreign := published(t, "pc", -2, "open", act("meeting"))
	foreign.Doc.Entity = "sip:bob@example.com"
	older := published(t, "pc", -30, "closed", "")
	src := Sources{AOR: alice, Now: now,
		Devices:      []Device{{ID: "pc", Since: minutes(-60), Class: pidf.Desktop}, {ID: "phone"}},
		Publications: []Publication{published(t, "pc", -1, "open", idle+act("busy", "lunch")), gone, over, foreign, older, published(t, "phone", -9, "", "")},
		Manual:       Manual{State: pidf.Offline, Note: "x", Until: minutes(-1)},
		Calls:        Calls{Talking: 1, Ringing: 2},
		Meetings:     []Meeting{{From: minutes(-1), Until: minutes(30), Subject: "secret"}},
	}
	st := Compose(&src)
	want := []Line{
		{"by hand", "", "appear offline, with a note, which ended 2026-03-04 11:59:00 UTC", false},
		{"calls", "", "1 in progress, 2 ringing, which do not count yet", true},
		{"device", "pc", "signed in since 2026-03-04 11:00:00 UTC, desktop, not in use since 2026-03-04 11:40:00 UTC", false},
		{"device", "phone", "signed in, does not tell whether it is in use", false},
		{"publication", "pc", "busy (busy, lunch), since 2026-03-04 11:59:00 UTC", false},
		{"publication", "tablet", "in-meeting (meeting), since 2026-03-04 11:58:00 UTC; its device is not signed in, so it does not count", false},
		{"publication", "pc", "expired 2026-03-04 11:20:00 UTC", false},
		{"publication", "pc", "is about somebody else and does not count", false},
		{"publication", "pc", "closed, since 2026-03-04 11:30:00 UTC; the device published something newer", false},
		{"publication", "phone", "nothing about the person, since 2026-03-04 11:51:00 UTC", false},
		{"calendar", "", "a meeting until 2026-03-04 12:30:00 UTC", false},
	}
	if got := Explain(&src, &st); !slices.Equal(got, want) {
		for i, l := range got {
			if i >= len(want) || l != want[i] {
				t.Errorf("line %d: %+v", i, l)
			}
		}
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
	src.Calls, src.Meetings[0].Until = Calls{}, now
	st = Compose(&src)
	got := Explain(&src, &st)
	if !got[4].Wins || got[1] != (Line{"calls", "", "none", false}) || got[10].Says != "nothing goes on" {
		t.Errorf("the publication wins now: %+v", got)
	}
	src = Sources{AOR: alice, Now: now, Manual: Manual{Note: "x", Until: minutes(5)}}
	st = Compose(&src)
	if got := Explain(&src, &st)[0]; got != (Line{"by hand", "", "a note, until 2026-03-04 12:05:00 UTC", false}) {
		t.Errorf("got %+v", got)
	}
	src = Sources{AOR: alice, Now: now, Manual: Manual{State: pidf.Away, Until: minutes(5)}, Devices: []Device{{ID: "pc"}},
		Publications: []Publication{published(t, "pc", -1, "open", "<r:user-input>active</r:user-input>")}}
	st = Compose(&src)
	if got := Explain(&src, &st); got[0] != (Line{"by hand", "", "away, until 2026-03-04 12:05:00 UTC", true}) || got[2].Says != "signed in, in use" {
		t.Errorf("got %+v", got)
	}
}

// TestReasons: each has words of its own, for people.
func TestReasons(t *testing.T) {
	seen := map[string]Reason{}
	for r := Reason(0); r <= DeviceThere; r++ {
		if old, ok := seen[r.String()]; ok {
			t.Errorf("%d and %d are both %q", old, r, r)
		}
		seen[r.String()] = r
	}
	if _, ok := seen[(DeviceThere + 1).String()]; !ok {
		t.Error("a reason has no words, or there are more than this test knows")
	}
}
