package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestParseUntil(t *testing.T) {
	t.Parallel()
	// Where the clock is changed on 2026-03-29 and 2026-10-25.
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("the machine has no time zones:", err)
	}
	day := func(d, h, m int) time.Time { return time.Date(2026, 11, d, h, m, 0, 0, berlin) }
	now := day(22, 13, 30)
	for _, c := range []struct {
		text string
		now  time.Time
		want time.Time // zero: refused
		says string
	}{
		{"14:00", now, day(22, 14, 0), ""},
		{"13:30", now, day(23, 13, 30), ""},
		{"9:05", now, day(23, 9, 5), ""},
		{"00:00", now, day(23, 0, 0), ""},
		{"13:30:01", now, now.Add(time.Second), ""},
		{"14:00", time.Date(2026, 10, 24, 15, 0, 0, 0, berlin), time.Date(2026, 10, 25, 14, 0, 0, 0, berlin), ""},
		{"30m", now, day(22, 14, 0), ""},
		{"2h30m", now, day(22, 16, 0), ""},
		{"2026-11-22T14:00", now, day(22, 14, 0), ""},
		{"2026-11-22 14:00", now, day(22, 14, 0), ""},
		{"2026-11-22T14:00:00Z", now, day(22, 15, 0), ""},
		{"2026-11-22T13:30", now, time.Time{}, "is over"},
		{"2025-11-22T14:00", now, time.Time{}, "is over"},
		{"-30m", now, time.Time{}, "no time ahead"},
		{"0s", now, time.Time{}, "no time ahead"},
		{"20000h", now, time.Time{}, "no time ahead"},
		{"25:00", now, time.Time{}, "write 14:00, 30m"},
		{"tomorrow", now, time.Time{}, "write 14:00, 30m"},
		{"2026-11-31T14:00", now, time.Time{}, "write 14:00, 30m"},
	} {
		got, err := parseUntil(c.text, c.now)
		switch {
		case c.says != "":
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q: %v, %v", c.text, got, err)
			}
		case err != nil || !got.AsTime().Equal(c.want):
			t.Errorf("%q at %v: %v, %v", c.text, c.now, got.AsTime(), err)
		}
	}
	if got, err := parseUntil("", now); got != nil || err != nil {
		t.Error(got, err)
	}
}

func TestParseState(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"available": "available", "Busy": "busy", "in-meeting": "in-meeting", "in a meeting": "in-meeting", "DND": "dnd", "do_not_disturb": "dnd",
		"Be Right Back": "brb", "away": "away", "offline": "offline", "appear-offline": "offline", "auto": "",
	} {
		if got, err := parseState(name); got != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for name, says := range map[string]string{"in-call": "the server sees calls by itself", "On the Phone": "sees calls", "": "no state", "lunch": `"lunch" is no state; write available`} {
		if got, err := parseState(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

func TestPresenceTimes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 13, 30, 0, 0, time.FixedZone("", 3600))
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	for d, want := range map[time.Duration]string{30 * time.Minute: "14:00", 11 * time.Hour: "2026-11-23 00:30", -14 * time.Hour: "2026-11-21 23:30"} {
		if got := shortTime(at(d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := localTimes("busy, until 2026-11-22 13:00:59 UTC, since 2026-11-21 23:30:00 UTC", now); got != "busy, until 14:00, since 00:30" {
		t.Error(got)
	}
	for d, want := range map[time.Duration]string{0: "under a minute", time.Minute: "under a minute", -59 * time.Second: "under a minute", -time.Minute: "1m", -90 * time.Minute: "1h30m", -49 * time.Hour: "49h0m"} {
		if got := idleFor(at(d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
