package compose

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/wire/pidf"
)

// FuzzView publishes anything at all: every document can be read, is the same for the same sources, and who may see nothing
// sees the same as of somebody who is offline.
func FuzzView(f *testing.F) {
	names, err := filepath.Glob("../../../wire/pidf/testdata/*.xml")
	if err != nil || len(names) == 0 {
		f.Fatalf("no examples: %v", err)
	}
	src := everything(f)
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, src.Publications[0].Doc.Append(nil), "urn:uuid:1", "a note", uint32(i*37))
	}
	var offline Sources
	offline.AOR, offline.Now = alice, now
	f.Fuzz(func(t *testing.T, one, two []byte, id, note string, bits uint32) {
		src := Sources{AOR: alice, Now: now, Devices: []Device{{ID: "pc", Class: pidf.DeskPhone}, {ID: id, Contact: note, Q: uint16(bits)}}}
		src.Devices = src.Devices[:bits%3]
		bit := func(n int) bool { return bits>>n&1 != 0 }
		for i, b := range [][]byte{one, two} {
			if doc, err := pidf.Parse(b); err == nil {
				if bit(3 + i) {
					doc.Entity = "pres:" + alice
				}
				src.Publications = append(src.Publications, Publication{ETag: note, Device: []string{"pc", id}[i], Alone: bit(5 + i), Doc: doc,
					Updated: minutes(-i), Expires: minutes(10)})
			}
		}
		states := []pidf.Availability{"", pidf.Available, pidf.Busy, pidf.InCall, pidf.InMeeting, pidf.DND, pidf.BRB, pidf.Away, pidf.Offline, "x"}
		src.Manual = Manual{State: states[bits>>7%uint32(len(states))], Note: note}
		src.Calls.Talking = int(bits >> 12 & 1)
		if bit(13) {
			src.Meetings = []Meeting{{From: minutes(-1), Until: minutes(1), Subject: note}}
		}
		if bit(14) {
			src.Manual.Until = minutes(int(bits>>15&1) - 1)
		}
		st := Compose(&src)
		if again := Compose(&src); again != st || !st.Availability.Valid() || st.Reason == 0 || !st.Next.IsZero() && !st.Next.After(src.Now) {
			t.Fatalf("%+v, then %+v", st, again)
		}
		checkExplanation(t, &src, &st)
		nobody := Compose(&offline)
		want := View(&offline, &nobody, policy.Blocked.Sight()).Append(nil)
		for l := policy.Blocked; l <= policy.Close; l++ {
			s := l.Sight()
			checkView(t, &src, &st, s)
			s.Device, s.Note = bit(16), bit(17)
			checkView(t, &src, &st, s)
			s.Note = false
			if b := View(&src, &st, s).Append(nil); (st.Availability == pidf.Offline || l == policy.Blocked) != bytes.Equal(b, want) {
				t.Fatalf("%s for %v:\n%s", st.Availability, l, b)
			}
		}
	})
}

func checkView(t *testing.T, src *Sources, st *State, s policy.Sight) {
	doc := View(src, st, s)
	text := doc.Append(nil)
	if b := View(src, st, s).Append(nil); !bytes.Equal(b, text) {
		t.Fatalf("the same sources gave another document:\n%s\n%s", text, b)
	}
	again := *doc
	again.Tuples, again.Persons, again.Devices = copyOf(again.Tuples), copyOf(again.Persons), copyOf(again.Devices)
	again.Normalize()
	if b := again.Append(nil); !bytes.Equal(b, text) {
		t.Fatalf("the document was not normal:\n%s\n%s", text, b)
	}
	if _, err := pidf.Parse(text); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	// An offline person has no times.
	if g := Look(doc); g.Availability == "" || g.Until != (time.Time{}) && st.Availability == pidf.Offline {
		t.Fatalf("%+v", g)
	}
}

// copyOf copies a list: Normalize changes it in place.
func copyOf[T any](list []T) []T { return append([]T(nil), list...) }
