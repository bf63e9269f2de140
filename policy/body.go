package policy

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/sdp"
	"github.com/parley-im/parley/wire/sip"
)

// MaxFragment bounds a message/sipfrag body, in bytes.
const MaxFragment = 2048

// maxSession bounds what an encoded body may become.
const maxSession = sdp.MaxBytes

// sessionTypes is the Accept value for what sets up sessions.
const sessionTypes = "application/sdp, multipart/mixed, multipart/alternative, multipart/related"

// Body judges the body of a request or response that passes this server on its
// way to somebody else. nil lets it pass. Looked at wherever a client would
// look: behind a Content-Encoding, in any multipart, in any method. A MESSAGE
// passes, because its service has recorded it.
func (p *Policy) Body(m *sip.Message) *Refusal {
	body := m.Body()
	if len(body) == 0 || m.IsRequest() && m.Method() == sip.MESSAGE {
		return nil
	}
	typ, _ := m.ContentType()
	if enc := m.Get(sip.HContentEncoding); enc != "" && !strings.EqualFold(enc, "identity") {
		plain, err := mime.Inflate(enc, body, maxSession)
		switch {
		case errors.Is(err, mime.ErrTooLarge):
			return &Refusal{Status: 413, Warning: "the body is too large when unpacked"}
		case errors.Is(err, mime.ErrEncoding):
			return p.wrongType(m.Method())
		case err != nil:
			return malformed()
		}
		body = plain
	}
	if !mime.IsMultipart(typ) {
		return p.part(m.Method(), typ, body)
	}
	parts, err := mime.Multipart(m.Get(sip.HContentType), body, mime.DefaultLimits)
	switch {
	case errors.Is(err, mime.ErrTooLarge):
		return &Refusal{Status: 413, Warning: "the body has too many parts"}
	case err != nil:
		return malformed()
	}
	if b := bytes.TrimSpace(body); !bytes.HasPrefix(b, []byte("--")) || !bytes.HasSuffix(b, []byte("--")) {
		// Text before the first or behind the last boundary is no part of
		// anything, and some clients show it. RFC 2046 §5.1.1.
		return malformed()
	}
	for _, part := range parts {
		if e := part.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
			return p.wrongType(m.Method())
		}
		if e := part.Header.Get("Content-Transfer-Encoding"); e != "" && !identity(e) {
			return p.wrongType(m.Method())
		}
		typ, _ := sip.SplitMediaType(part.ContentType)
		if no := p.part(m.Method(), typ, part.Body); no != nil {
			return no
		}
	}
	return nil
}

// identity tells whether a transfer encoding leaves the bytes as they are.
// RFC 2045 §6.
func identity(encoding string) bool {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "7bit", "8bit", "binary":
		return true
	}
	return false
}

// part judges one body or one leaf of a multipart.
func (p *Policy) part(method, typ string, body []byte) *Refusal {
	switch method {
	case sip.INVITE, sip.ACK, sip.PRACK, sip.UPDATE, sip.OPTIONS:
		if typ != "application/sdp" {
			return p.wrongType(method)
		}
		d, err := sdp.Parse(body)
		if err != nil {
			return malformed()
		}
		return Session(d)
	case sip.INFO:
		if !p.InfoAllowed(typ) || !tone(typ, body) {
			return p.wrongType(method)
		}
		return nil
	case sip.NOTIFY:
		// RFC 3515 §2.4.4: how a referred call goes.
		if typ == "message/sipfrag" && len(body) <= MaxFragment && bytes.HasPrefix(body, []byte("SIP/2.0 ")) {
			return nil
		}
	}
	return p.wrongType(method)
}

// What hook-flash and RFC 5168 bodies consist of: nothing in which prose fits.
var (
	hookFlash    = regexp.MustCompile(`^(?i)\s*(signal\s*=\s*)?(hf|flash|hook-?flash|16)?\s*$`)
	mediaControl = regexp.MustCompile(`^\s*(<\?xml version="1\.0"( encoding="(?i:utf-8)")?( standalone="(yes|no)")?\s*\?>)?\s*` +
		`(</?(media_control|vc_primitive|to_encoder|picture_fast_update)\s*/?>\s*|<stream_id>\d{1,8}</stream_id>\s*)+$`)
)

// tone tells whether the body of a default INFO type is what the type is for,
// digits and commands, not prose. Other types of the configured list pass.
func tone(typ string, body []byte) bool {
	switch typ {
	case "application/hook-flash":
		return len(body) <= 64 && hookFlash.Match(body)
	case "application/media_control+xml":
		return len(body) <= MaxFragment && mediaControl.Match(body)
	case "application/dtmf":
		return len(bytes.TrimSpace(body)) <= 2
	case "application/dtmf-relay":
		for line := range strings.Lines(string(body)) {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			name, v, ok := strings.Cut(line, "=")
			v = strings.TrimSpace(v)
			switch {
			case !ok:
				return false
			case strings.EqualFold(strings.TrimSpace(name), "signal"):
				if len(v) > 2 {
					return false
				}
			case strings.EqualFold(strings.TrimSpace(name), "duration"):
				if len(v) > 6 || strings.Trim(v, "0123456789") != "" {
					return false
				}
			default:
				return false
			}
		}
		return len(body) <= 256
	}
	return len(body) <= MaxFragment
}

// wrongType is 415 with what the method may carry. RFC 3261 §21.4.13.
func (p *Policy) wrongType(method string) *Refusal {
	r := &Refusal{Status: 415, Warning: "a body of this type cannot be recorded here, so it is not carried"}
	switch method {
	case sip.INFO:
		r.Accept = strings.Join(p.infoTypes, ", ")
	case sip.NOTIFY:
		r.Accept = "message/sipfrag"
	default:
		r.Accept = sessionTypes
	}
	return r
}

func malformed() *Refusal {
	return &Refusal{Status: 400, Reason: "Malformed Body", Warning: "the body cannot be read"}
}
