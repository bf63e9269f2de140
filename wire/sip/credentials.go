package sip

// Credentials are the digest fields of an Authorization or Proxy-Authorization header (RFC 3261 §20.7, RFC 7616 §3.4), or of a
// challenge's header. Quotes and backslashes are taken off.
type Credentials struct {
	Scheme    string // as it came; compare without regard to case
	Username  string
	Realm     string
	Nonce     string
	URI       string
	Response  string
	Algorithm string
	CNonce    string
	Opaque    string
	QOP       string
	NC        string // eight hex digits if the sender is right
}

// ParseCredentials reads a header value. Of schemes other than Digest only the scheme is read. A field
// that stands twice is refused. The error is *Error with status 400.
func ParseCredentials(value string) (Credentials, error) {
	var c Credentials
	s := trim(value)
	n := spanClass(s, cToken)
	if n == 0 || n < len(s) && !isSpace(s[n]) {
		return c, bad("Malformed Credentials", "")
	}
	c.Scheme = s[:n]
	s = trimLeft(s[n:])
	if !equalFold(c.Scheme, "Digest") {
		return c, nil
	}
	for seen := 0; ; {
		name, raw, rest, more, ok := nextAuthParam(s)
		if !ok {
			return c, bad("Malformed Credentials", "")
		}
		if dst, bit := c.fieldOf(name); dst != nil {
			if seen&bit != 0 {
				return c, bad("Malformed Credentials", "repeated field")
			}
			seen |= bit
			*dst = unquote(raw)
		}
		if !more {
			return c, nil
		}
		s = rest
	}
}

// nextAuthParam reads name EQUAL ( token / quoted-string ) up to the next comma. The value keeps its quotes.
func nextAuthParam(s string) (name, raw, rest string, more, ok bool) {
	s = trimLeft(s)
	n := spanClass(s, cToken)
	if n == 0 {
		return "", "", "", false, false
	}
	name = s[:n]
	s = trimLeft(s[n:])
	if s == "" || s[0] != '=' {
		return "", "", "", false, false
	}
	s = trimLeft(s[1:])
	if s != "" && s[0] == '"' {
		n = skipQuoted(s)
		if n < 0 || !validQuoted(s[:n]) {
			return "", "", "", false, false
		}
	} else {
		// Some clients leave the quotes of uri and nonce away: anything but the separators is let through.
		for n = 0; n < len(s) && s[n] != ',' && s[n] != '"' && !isSpace(s[n]) && s[n] > ' '; n++ {
		}
		if n == 0 {
			return "", "", "", false, false
		}
	}
	raw, s = s[:n], trimLeft(s[n:])
	if s == "" {
		return name, raw, "", false, true
	}
	return name, raw, s[1:], true, s[0] == ','
}

// fieldOf finds the field with that name and a bit of its own.
func (c *Credentials) fieldOf(name string) (dst *string, bit int) {
	switch {
	case equalFold(name, "username"):
		return &c.Username, 1 << 0
	case equalFold(name, "realm"):
		return &c.Realm, 1 << 1
	case equalFold(name, "nonce"):
		return &c.Nonce, 1 << 2
	case equalFold(name, "uri"):
		return &c.URI, 1 << 3
	case equalFold(name, "response"):
		return &c.Response, 1 << 4
	case equalFold(name, "algorithm"):
		return &c.Algorithm, 1 << 5
	case equalFold(name, "cnonce"):
		return &c.CNonce, 1 << 6
	case equalFold(name, "opaque"):
		return &c.Opaque, 1 << 7
	case equalFold(name, "qop"):
		return &c.QOP, 1 << 8
	case equalFold(name, "nc"):
		return &c.NC, 1 << 9
	}
	return nil, 0
}
