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
	for {
		name, raw, rest, more, ok := nextAuthParam(s)
		if !ok {
			return c, bad("Malformed Credentials", "")
		}
		if dst := c.fieldOf(name); dst != nil {
			if *dst != "" {
				return c, bad("Malformed Credentials", "repeated "+name)
			}
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

func (c *Credentials) fieldOf(name string) *string {
	switch toLower(name) {
	case "username":
		return &c.Username
	case "realm":
		return &c.Realm
	case "nonce":
		return &c.Nonce
	case "uri":
		return &c.URI
	case "response":
		return &c.Response
	case "algorithm":
		return &c.Algorithm
	case "cnonce":
		return &c.CNonce
	case "opaque":
		return &c.Opaque
	case "qop":
		return &c.QOP
	case "nc":
		return &c.NC
	}
	return nil
}
