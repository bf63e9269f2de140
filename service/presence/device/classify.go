package device

import (
	"strings"

	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

// maxAgent is how much of a User-Agent is looked at, in bytes.
const maxAgent = 256

// classify tells what kind of device it is, "" when that cannot be told. params are those of its Contact, transport is
// "udp", "tcp", "tls", "ws" or "wss". What counts, in this order:
//
//  1. sip.automata: nobody reads there (RFC 3840 §10.7), so it has no class
//  2. the product at the start of User-Agent, when it runs on one kind of device
//  3. a WebSocket: a browser
//  4. sip.mobility "mobile" (RFC 3840 §10.10)
//  5. the system or model that User-Agent, then sip.description names
//  6. the kind of device that the product mostly runs on
//  7. an instance made of an IMEI: a phone; or of a hardware address, or sip.mobility "fixed": a desk phone
//
// sip.class tells business from private, not one device from another. Desk phones are also cordless ones with a base, and
// adapters for analogue phones.
func classify(userAgent string, params sip.Params, transport string) pidf.DeviceClass {
	tags := read(params)
	if tags.automata {
		return ""
	}
	agent := strings.ToLower(userAgent[:min(len(userAgent), maxAgent)])
	p, known := productOf(agent)
	if known && !p.anywhere {
		return handheld(p.class, agent, tags.description)
	}
	if transport == "ws" || transport == "wss" {
		return pidf.Browser
	}
	if tags.mobile {
		return handheld(pidf.Phone, agent, tags.description)
	}
	for _, text := range []string{agent, tags.description} {
		if c := named(text); c != "" {
			return c
		}
	}
	switch {
	case known && p.class == "" && tags.fixed:
		return pidf.Desktop
	case known:
		return p.class
	case tags.imei:
		return pidf.Phone
	case tags.fixed, tags.hardware:
		return pidf.DeskPhone
	}
	return ""
}

// tags are the parameters of a Contact that say something about the device.
type tags struct {
	automata, mobile, fixed bool
	imei, hardware          bool   // what the instance is made of
	description             string // lower case
}

func read(params sip.Params) (t tags) {
	for name, value := range params.All() {
		name = strings.ToLower(name)
		value = strings.ToLower(value[:min(len(value), maxAgent)])
		// "+sip.mobility" and "mobility" are the same tag (RFC 3840 §5).
		switch strings.TrimPrefix(name, "+sip.") {
		case "automata":
			t.automata = value != "false"
		case "mobility":
			t.mobile, t.fixed = value == "mobile", value == "fixed"
		case "description":
			t.description = strings.Trim(value, "<>")
		case "instance":
			id := strings.Trim(value, "<>")
			t.imei = strings.HasPrefix(id, "urn:gsma:imei:") || strings.HasPrefix(id, "urn:imei:")
			// UUIDs of which only the node, a hardware address, is filled in.
			t.hardware = strings.HasPrefix(id, "urn:uuid:00000000-0000-1000-8000-") || strings.HasPrefix(id, "urn:uuid:00000000-0000-0000-0000-")
		}
	}
	return t
}

// handheld tells tablets from phones; other classes stay.
func handheld(c pidf.DeviceClass, texts ...string) pidf.DeviceClass {
	if c != pidf.Phone {
		return c
	}
	for _, text := range texts {
		if hasAny(text, tablets) {
			return pidf.Tablet
		}
	}
	return pidf.Phone
}

// Names of models and systems, in lower case, as they occur anywhere in a text.
var (
	tablets  = []string{"ipad", "tablet", "galaxy tab", "mediapad", "matepad", "xiaomi pad", "lenovo tb", "lenovo tab", "sm-t", "sm-x", "kindle", "nexus 7", "nexus 9", "nexus 10"}
	phones   = []string{"android", "iphone", "(ios", " ios", "/ios", "windows phone", "blackberry", "symbian"}
	desktops = []string{"windows", "win32", "win64", "mac os", "macos", "macintosh", "osx", "darwin", "linux", "freebsd", "openbsd", "ubuntu", "debian", "x11"}
)

func hasAny(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// named is the class of a text that names a model or a system, "" if it names none. Phones run Linux too, so it comes last.
func named(text string) pidf.DeviceClass {
	switch {
	case strings.HasPrefix(text, "mozilla/"):
		return pidf.Browser
	case hasAny(text, tablets):
		return pidf.Tablet
	case hasAny(text, phones):
		return pidf.Phone
	case hasAny(text, desktops):
		return pidf.Desktop
	}
	return ""
}
