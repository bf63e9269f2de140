package pidf

import (
	"time"

	"github.com/parley-im/parley/wire/xmlpull"
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

// setKind is what the schema (RFC 4480 §5.1) says about one kind of set.
type setKind struct {
	name    string
	known   func(string) bool // values that are elements of RPID itself; others are ours
	one     bool              // at most one value
	must    bool              // it may not be empty
	ordered bool              // values have an order
	places  bool              // values are those of the registry of places
	other   otherUse
}

// otherUse is what a kind of set does with Other.
type otherUse uint8

const (
	besideValues    otherUse = iota // any number of other elements
	insteadOfValues                 // one, if there are no values
	noOther
	asText // the text of the element itself, if there are no values
)

var (
	activityKind     = setKind{name: "rpid:activities", known: isActivity}
	moodKind         = setKind{name: "rpid:mood", known: isMood, must: true}
	placeKind        = setKind{name: "rpid:place-type", known: isPlace, must: true, places: true, other: insteadOfValues}
	privacyKind      = setKind{name: "rpid:privacy", known: isPrivacy, ordered: true, other: noOther}
	relationshipKind = setKind{name: "rpid:relationship", known: isRelationship, one: true, other: insteadOfValues}
	serviceClassKind = setKind{name: "rpid:service-class", known: isServiceClass, one: true, must: true, other: noOther}
	sphereKind       = setKind{name: "rpid:sphere", known: isSphere, one: true, other: asText}
)

// writes says whether a value can be written; "unknown" is left for when there is nothing else.
func (k *setKind) writes(v string) bool {
	return v != "unknown" && (k.known(v) || xmlpull.IsName(v))
}

// isActivity also lets "lunch" pass, which §3.2 defines and the schema forgot.
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

// privacyNames are in the order of the schema.
var privacyNames = []string{"audio", "text", "video"}

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
