package compose

import (
	"strings"
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// activityMeans is what a published activity makes of a person: for each of RFC 4480 §3.2, and words of our own namespace.
// "" says nothing: unknown, and what nobody knows.
func activityMeans(activity string) pidf.Availability {
	switch activity {
	case "on-the-phone", "in-call":
		return pidf.InCall
	case "meeting", "presentation", "in-meeting":
		return pidf.InMeeting
	case "appointment", "busy", "performance", "steering", "worship":
		return pidf.Busy
	case "dnd":
		return pidf.DND
	case "brb":
		return pidf.BRB
	case "away", "breakfast", "dinner", "holiday", "in-transit", "lunch", "meal", "playing", "shopping", "sleeping", "spectator",
		"travel", "tv", "vacation":
		return pidf.Away
	case "looking-for-work", "working", "available":
		return pidf.Available
	case "permanent-absence", "offline":
		// RFC 4480 §3.2: associated with a status of closed across all services.
		return pidf.Offline
	}
	return ""
}

// wordMeans reads texts that clients put where they know no element: the note of a tuple that is all the state a client of
// libpurple publishes ("busy"), and <other> (RFC 4480 §3.2). RFC 3863 §4.1.6 does not want notes read as a state; only
// texts that can be nothing else are.
func wordMeans(text string) pidf.Availability {
	if len(text) > 20 {
		return ""
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "available", "online", "open", "ready":
		return pidf.Available
	case "busy":
		return pidf.Busy
	case "dnd", "do not disturb", "do-not-disturb", "don't disturb", "busy (dnd)":
		return pidf.DND
	case "on the phone", "on-the-phone", "in a call", "on a call":
		return pidf.InCall
	case "in a meeting", "in meeting", "meeting":
		return pidf.InMeeting
	case "be right back", "brb":
		return pidf.BRB
	case "away", "idle":
		return pidf.Away
	case "offline", "closed":
		return pidf.Offline
	}
	return ""
}

// activityOf is the element of RPID that tells an availability to clients that know nothing else. RFC 4480 §3.2 has none
// for do not disturb and be right back: the nearest ones are told, and in View a note if there is none.
func activityOf(a pidf.Availability) string {
	switch a {
	case pidf.InCall:
		return "on-the-phone"
	case pidf.InMeeting:
		return "meeting"
	case pidf.Busy, pidf.DND:
		return "busy"
	case pidf.BRB, pidf.Away:
		return "away"
	}
	return ""
}

// coarse is what somebody is told who may see only the basics.
func coarse(a pidf.Availability) pidf.Availability {
	switch a {
	case pidf.InCall, pidf.InMeeting, pidf.DND:
		return pidf.Busy
	case pidf.BRB:
		return pidf.Away
	}
	return a
}

// strength orders what one document says of a person at once; the strongest counts.
func strength(a pidf.Availability) int {
	switch a {
	case pidf.Offline:
		return 8
	case pidf.DND:
		return 7
	case pidf.InCall:
		return 6
	case pidf.InMeeting:
		return 5
	case pidf.Busy:
		return 4
	case pidf.BRB:
		return 3
	case pidf.Away:
		return 2
	case pidf.Available:
		return 1
	}
	return 0
}

// holds tells whether something with a beginning and an end is in force (RFC 4480 §3.1).
func holds(from, until, now time.Time) bool {
	return (from.IsZero() || !from.After(now)) && (until.IsZero() || until.After(now))
}
