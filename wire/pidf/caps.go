package pidf

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// Flag is a capability that is there, is not there, or was not told.
type Flag uint8

// The values of a Flag.
const (
	Untold Flag = iota
	Yes
	No
)

// Support lists what is supported and what is not. In a conflict supported wins (RFC 5196 §4.1).
type Support struct{ Yes, No []string }

// Has tells whether a value is among the supported ones.
func (s *Support) Has(value string) bool { return slices.Contains(s.Yes, value) }

func (s *Support) empty() bool { return len(s.Yes) == 0 && len(s.No) == 0 }

// Range is a range of call priorities, both ends included. AnyMin and AnyMax leave an end open.
type Range struct{ Min, Max int }

// Open ends of a Range.
const (
	AnyMin = math.MinInt32
	AnyMax = math.MaxInt32
)

// Ranges are the priorities that are handled and those that are not (RFC 5196 §3.2.15).
type Ranges struct{ Yes, No []Range }

// ServiceCaps are the capabilities of a service (RFC 5196 §3.2). Methods are upper case, Extensions option tags as in
// Supported, Events names of event packages, Types media types in lower case.
type ServiceCaps struct {
	Audio, Application, Data, Control, Video, Text, Message Flag
	Automata, Focus                                         Flag
	Actor, Class, Duplex                                    Support
	Events, Extensions, Methods                             Support
	Languages, Schemes                                      Support
	Priority                                                Ranges
	Types                                                   []string
	Descriptions                                            []Note
}

// DeviceCaps are the capabilities of a device (RFC 5196 §3.3). Mobility is "fixed" or "mobile".
type DeviceCaps struct {
	Mobility     Support
	Descriptions []Note
}

// FromFeatures turns the feature parameters of a Contact (RFC 3840 §9) into capabilities of the service and of the device
// behind it (RFC 5196 §3.1). nil means that nothing was told. Parameters that are no feature tags are passed over.
func FromFeatures(params sip.Params) (*ServiceCaps, *DeviceCaps) {
	var s ServiceCaps
	var d DeviceCaps
	var service, device bool
	for name, value := range params.All() {
		name = strings.ToLower(name)
		// "+sip.audio" and "audio" are the same tag (RFC 3840 §5).
		if tag, ok := strings.CutPrefix(name, "+sip."); ok {
			name = tag
		}
		switch {
		case s.feature(name, value):
			service = true
		case d.feature(name, value):
			device = true
		}
	}
	var sp *ServiceCaps
	var dp *DeviceCaps
	if service {
		sp = &s
	}
	if device {
		dp = &d
	}
	return sp, dp
}

func (d *DeviceCaps) feature(name, value string) bool {
	switch name {
	case "mobility":
		d.Mobility.add(value, strings.ToLower)
	case "description":
		text, ok := stringValue(value)
		if !ok {
			return false
		}
		d.Descriptions = append(d.Descriptions, Note{Text: text})
	default:
		return false
	}
	return true
}

func (s *ServiceCaps) feature(name, value string) bool {
	if f := s.flag(name); f != nil {
		*f = boolean(value)
		return true
	}
	if name == "type" {
		for _, v := range strings.Split(value, ",") {
			if t, ok := stringValue(v); ok {
				v = t
			}
			if v != "" && v[0] != '!' {
				s.Types = append(s.Types, strings.ToLower(v))
			}
		}
		return true
	}
	list, fold := (*Support)(nil), strings.ToLower
	switch name {
	case "priority":
		s.Priority.add(value)
		return true
	case "methods":
		list, fold = &s.Methods, strings.ToUpper
	case "actor":
		list = &s.Actor
	case "class":
		list = &s.Class
	case "duplex":
		list = &s.Duplex
	case "events":
		list = &s.Events
	case "extensions":
		list = &s.Extensions
	case "language":
		list = &s.Languages
	case "schemes":
		list = &s.Schemes
	default:
		return false
	}
	list.add(value, fold)
	return true
}

// flag is the field of a boolean capability, by its name in RFC 3840 and RFC 5196 (which agree), nil if it is none.
func (s *ServiceCaps) flag(name string) *Flag {
	switch name {
	case "audio":
		return &s.Audio
	case "application":
		return &s.Application
	case "data":
		return &s.Data
	case "control":
		return &s.Control
	case "video":
		return &s.Video
	case "text":
		return &s.Text
	case "message":
		return &s.Message
	case "automata":
		return &s.Automata
	case "isfocus":
		return &s.Focus
	}
	return nil
}

// boolean reads a boolean tag: without a value it is true (RFC 3840 §5).
func boolean(value string) Flag {
	not := strings.HasPrefix(value, "!")
	if strings.EqualFold(strings.TrimPrefix(value, "!"), "FALSE") != not {
		return No
	}
	return Yes
}

// add reads a tag-value-list; "!" negates.
func (s *Support) add(list string, fold func(string) string) {
	for _, v := range strings.Split(list, ",") {
		v = strings.TrimSpace(v)
		if no, ok := strings.CutPrefix(v, "!"); ok && no != "" {
			s.No = append(s.No, fold(no))
		} else if v != "" {
			s.Yes = append(s.Yes, fold(v))
		}
	}
}

// add reads numeric values (RFC 3840 §9): #=5, #>=5, #<=5, #5:10.
func (r *Ranges) add(list string) {
	for _, v := range strings.Split(list, ",") {
		v, no := strings.CutPrefix(strings.TrimSpace(v), "!")
		v, ok := strings.CutPrefix(v, "#")
		g := Range{AnyMin, AnyMax}
		var good bool
		switch {
		case !ok:
		case strings.HasPrefix(v, ">="):
			g.Min, good = number(v[2:])
		case strings.HasPrefix(v, "<="):
			g.Max, good = number(v[2:])
		case strings.HasPrefix(v, "="):
			g.Min, good = number(v[1:])
			g.Max = g.Min
		default:
			low, high, _ := strings.Cut(v, ":")
			var goodLow bool
			g.Min, goodLow = number(low)
			g.Max, good = number(high)
			good = good && goodLow
		}
		if good && no {
			r.No = append(r.No, g)
		} else if good {
			r.Yes = append(r.Yes, g)
		}
	}
}

// number reads a number that may have a fraction, which is cut off.
func number(s string) (int, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(math.Abs(f) < AnyMax) { // which also keeps NaN out
		return 0, false
	}
	return int(f), true
}

// stringValue reads <text>.
func stringValue(s string) (string, bool) {
	if len(s) < 2 || s[0] != '<' || s[len(s)-1] != '>' {
		return "", false
	}
	return s[1 : len(s)-1], true
}

// The elements that RFC 5196 §6 knows in each list, in the order of its schema.
var (
	actorNames    = []string{"attendant", "information", "msg-taker", "principal"}
	classNames    = []string{"business", "personal"}
	duplexNames   = []string{"full", "half", "receive-only", "send-only"}
	mobilityNames = []string{"fixed", "mobile"}
	eventNames    = []string{"conference", "dialog", "kpml", "message-summary", "poc-settings", "presence", "reg", "refer",
		"Siemens-RTP-Stats", "spirits-INDPs", "spirits-user-prof", "winfo"}
	methodNames = []string{"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER",
		"REGISTER", "SUBSCRIBE", "UPDATE"}
	extensionNames = []string{"rel100", "early-session", "eventlist", "from-change", "gruu", "hist-info", "join", "norefersub",
		"path", "precondition", "pref", "privacy", "recipient-list-invite", "recipient-list-subscribe", "replaces",
		"resource-priority", "sdp-anat", "sec-agree", "tdialog", "timer"}
)

// Two option tags are not the names of their elements.
func elementOfTag(tag string) string {
	switch tag {
	case "100rel":
		return "rel100"
	case "histinfo":
		return "hist-info"
	}
	return tag
}

func tagOfElement(name string) string {
	switch name {
	case "rel100":
		return "100rel"
	case "hist-info":
		return "histinfo"
	}
	return name
}
