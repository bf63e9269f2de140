package policy

import (
	"strings"

	"github.com/parley-im/parley/wire/sdp"
)

// Session judges a session description, offer or answer: 488 for text that
// would flow past the archive. That is MSRP (RFC 4975), real-time text
// (RFC 4103, also as audio/t140c of RFC 4351), data channels (RFC 8865,
// RFC 8873), and media we do not know. A stream with port 0 is not offered,
// unless it is bundle-only (RFC 8843 §6).
func Session(d *sdp.Description) *Refusal {
	for _, a := range d.Attributes {
		if textAttribute(a) {
			return notAcceptable("sessions that carry text cannot be recorded here yet")
		}
	}
	for _, m := range d.Media {
		if _, bundled := m.Get("bundle-only"); m.Port == 0 && !bundled {
			continue
		}
		if no := media(m); no != nil {
			return no
		}
	}
	return nil
}

// media judges one stream.
func media(m sdp.Media) *Refusal {
	proto := strings.ToUpper(m.Proto)
	switch {
	case m.Type == "message" || strings.Contains(proto, "MSRP"):
		return notAcceptable("MSRP sessions cannot be recorded here yet; send page-mode messages instead")
	case m.Type == "text":
		return notAcceptable("real-time text cannot be recorded here yet")
	case strings.Contains(proto, "SCTP"):
		return notAcceptable("data channels cannot be recorded here yet")
	}
	for _, a := range m.Attributes {
		if textAttribute(a) {
			return notAcceptable("a stream that carries text cannot be recorded here yet")
		}
	}
	switch m.Type {
	case "audio", "video":
		if strings.Contains(proto, "RTP/") {
			return nil
		}
	case "image":
		// T.38 fax
		return nil
	case "application":
		// Floor and camera control carry no text.
		if strings.Contains(proto, "BFCP") || strings.Contains(proto, "RTP/") && h224(m) {
			return nil
		}
	}
	return notAcceptable("this kind of media is not carried here")
}

// h224 tells whether a stream is far-end camera control. RFC 4573.
func h224(m sdp.Media) bool {
	for _, a := range m.Attributes {
		if strings.EqualFold(a.Name, "rtpmap") && strings.Contains(strings.ToLower(a.Value), "h224/") {
			return true
		}
	}
	return false
}

// textAttribute finds text in attributes: codecs named t140 or t140c, MSRP
// paths, data channel maps (RFC 8864), and capabilities that offer one of
// these as an alternative (RFC 5939, RFC 6871).
func textAttribute(a sdp.Attribute) bool {
	switch strings.ToLower(a.Name) {
	case "dcmap", "dcsa", "accept-types", "accept-wrapped-types":
		return true
	case "rtpmap", "path", "msrp-cema", "tcap", "acap", "rmcap", "omcap", "mcap", "mfcap", "mscap", "cdsc", "cpar":
		v := strings.ToLower(a.Value)
		return strings.Contains(v, "t140") || strings.Contains(v, "msrp") || strings.Contains(v, "sctp")
	}
	return false
}

func notAcceptable(text string) *Refusal {
	// RFC 3261 §21.4.26
	return &Refusal{Status: 488, Warning: text}
}
