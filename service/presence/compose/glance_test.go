package compose

import (
	"reflect"
	"testing"

	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/wire/pidf"
)

func TestLook(t *testing.T) {
	doc, _ := see(t, everything(t), policy.Team.Sight())
	g := Look(doc)
	if len(g.Devices) != 2 {
		t.Fatalf("%d devices", len(g.Devices))
	}
	want := Glance{Availability: pidf.Busy, Until: minutes(120), Activities: []string{"meeting"}, Note: "back at 14:00", Devices: []GlanceDevice{
		{ID: g.Devices[0].ID, Open: true, Class: pidf.Desktop, Line: pidf.Line{RTT: 3e6, Throughput: pidf.Fast}, MaxMessage: 9000, Video: pidf.Yes,
			Note: "in the study", IdleSince: minutes(-20)},
		{ID: g.Devices[1].ID, Open: true, Class: pidf.Phone, Line: pidf.Line{RTT: 85e6, Throughput: pidf.Slow}, MaxMessage: 2000, Audio: pidf.Yes, Message: pidf.Yes,
			Methods: []string{"INVITE", "MESSAGE"}, Contact: "sip:alice@example.com;gr=x"},
	}}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("got\n%+v\nwant\n%+v", g, want)
	}
	doc, _ = see(t, everything(t), policy.Blocked.Sight())
	if g := Look(doc); !reflect.DeepEqual(g, Glance{Availability: pidf.Offline}) {
		t.Errorf("blocked: %+v", g)
	}
	doc, _ = see(t, everything(t), policy.Outside.Sight())
	if g := Look(doc); !reflect.DeepEqual(g, Glance{Availability: pidf.Busy}) {
		t.Errorf("outside: %+v", g)
	}
	src := everything(t)
	src.Manual, src.Meetings = Manual{}, nil
	src.Publications = []Publication{published(t, "plain", -1, "open", idle), published(t, "x", -1, "open", idle)}
	src.Publications[1].Device, src.Publications[1].ETag = src.Devices[0].ID, "2"
	doc, _ = see(t, src, policy.Colleague.Sight())
	if g := Look(doc); g.Availability != pidf.Away || !g.IdleSince.Equal(minutes(-20)) || g.Activities != nil {
		t.Errorf("idle: %+v", g)
	}
}
