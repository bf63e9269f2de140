package pidf

import (
	"time"
)

// Set is an enumeration of RFC 4480: activities, a mood, the type of a place, privacy, a relationship, the class of a
// service, a sphere. Values are names of elements ("on-the-phone"); Other are texts for what has no name. From and Until
// are when it holds (RFC 4480 §3.1); zero when not told.
type Set struct {
	From, Until time.Time
	Values      []string
	Other       []Note
	Notes       []Note
}

// Has tells whether a value is in the set.
func (s *Set) Has(value string) bool {
	if s == nil {
		return false
	}
	for _, v := range s.Values {
		if v == value {
			return true
		}
	}
	return false
}

// PlaceIs tells what the surroundings allow (RFC 4480 §3.6): Audio is noisy, ok, quiet or unknown; Video is toobright,
// ok, dark or unknown; Text is uncomfortable, inappropriate, ok or unknown. "" means not told.
type PlaceIs struct {
	From, Until        time.Time
	Audio, Video, Text string
	Notes              []Note
}

// Icon is the URI of a picture of the state (RFC 4480 §3.12).
type Icon struct {
	URI         string
	From, Until time.Time
}

// TimeOffset is the person's distance from UTC in minutes, east is positive (RFC 4480 §3.13).
type TimeOffset struct {
	Minutes     int
	Description string // such as "Europe/Berlin"
	From, Until time.Time
}

// The states of UserInput.
const (
	Active = "active"
	Idle   = "idle"
)

// UserInput tells whether somebody is using the service or device (RFC 4480 §3.14).
type UserInput struct {
	State         string // Active, Idle or "" when not told
	IdleThreshold uint32 // seconds without input after which the state is Idle; 0 when not told
	LastInput     time.Time
}

// Card is contact information that changes rarely (RFC 4482 §3): URIs, and names in one or more languages.
type Card struct {
	Card, Homepage, Icon, Map, Sound string
	DisplayNames                     []Note
}

// The kinds of sets: which values RFC 4480 §5.1 knows there.

// activity also lets "lunch" pass, which §3.2 defines and the schema forgot.
func isActivity(s string) bool {
	switch s {
	case "appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit", "looking-for-work", "lunch", "meal",
		"meeting", "on-the-phone", "performance", "permanent-absence", "playing", "presentation", "shopping", "sleeping",
		"spectator", "steering", "travel", "tv", "unknown", "vacation", "working", "worship":
		return true
	}
	return false
}

func isMood(s string) bool {
	switch s {
	case "afraid", "amazed", "angry", "annoyed", "anxious", "ashamed", "bored", "brave", "calm", "cold", "confused", "contented",
		"cranky", "curious", "depressed", "disappointed", "disgusted", "distracted", "embarrassed", "excited", "flirtatious",
		"frustrated", "grumpy", "guilty", "happy", "hot", "humbled", "humiliated", "hungry", "hurt", "impressed", "in_awe",
		"in_love", "indignant", "interested", "invincible", "jealous", "lonely", "mean", "moody", "nervous", "neutral", "offended",
		"playful", "proud", "relieved", "remorseful", "restless", "sad", "sarcastic", "serious", "shocked", "shy", "sick", "sleepy",
		"stressed", "surprised", "thirsty", "unknown", "worried":
		return true
	}
	return false
}

func isPrivacy(s string) bool { return s == "audio" || s == "text" || s == "video" || s == "unknown" }

func isRelationship(s string) bool {
	switch s {
	case "assistant", "associate", "family", "friend", "self", "supervisor", "unknown":
		return true
	}
	return false
}

func isServiceClass(s string) bool {
	switch s {
	case "courier", "electronic", "freight", "in-person", "postal", "unknown":
		return true
	}
	return false
}

func isSphere(s string) bool { return s == "home" || s == "work" || s == "unknown" }

// Places come from another registry, so none is an element of RPID itself.
func isPlace(string) bool { return false }

func isPlaceAudio(s string) bool {
	return s == "noisy" || s == "ok" || s == "quiet" || s == "unknown"
}

func isPlaceVideo(s string) bool {
	return s == "toobright" || s == "ok" || s == "dark" || s == "unknown"
}

func isPlaceText(s string) bool {
	return s == "uncomfortable" || s == "inappropriate" || s == "ok" || s == "unknown"
}
