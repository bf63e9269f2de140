package sip

import "strings"

// checkNumber: delta-seconds and the like, 1*DIGIT up to 2^32-1.
func checkNumber(s string) bool {
	_, ok := parseUint(s)
	return ok
}

// checkMaxForwards: 0 to 255 (RFC 3261 §20.22).
func checkMaxForwards(s string) bool {
	n, ok := parseUint(s)
	return ok && n <= 255
}

// checkNumberParams: delta-seconds *( SEMI generic-param ), RFC 4028 §4.
func checkNumberParams(s string) bool {
	head, params := cutParams(s)
	return checkNumber(head) && params.valid()
}

// cutParams splits at the first ";" that is not in quotes; the head is trimmed.
func cutParams(s string) (head string, params Params) {
	if i := strings.IndexByte(s, ';'); i >= 0 {
		return trimRight(s[:i]), Params(s[i:])
	}
	return s, ""
}

// checkCallID: word [ "@" word ].
func checkCallID(s string) bool {
	n := spanClass(s, cWord)
	if n == 0 {
		return false
	}
	if n == len(s) {
		return true
	}
	return s[n] == '@' && n+1 < len(s) && spanClass(s[n+1:], cWord) == len(s)-n-1
}

// checkCallIDs: callid *(COMMA callid), RFC 3261 §20.21. A quote in a Call-ID opens nothing.
func checkCallIDs(s string) bool {
	for {
		id, rest, more := strings.Cut(s, ",")
		if !checkCallID(trim(id)) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// checkTokens: token *(COMMA token).
func checkTokens(v string) bool { return eachValue(v, isToken) }

func checkOptionalTokens(v string) bool { return v == "" || checkTokens(v) }

// checkTokenParams: token *( SEMI generic-param ): Event, Subscription-State, Content-Disposition.
func checkTokenParams(s string) bool {
	head, params := cutParams(s)
	return isToken(head) && params.valid()
}

func checkTokenParamsList(v string) bool { return v == "" || eachValue(v, checkTokenParams) }

// checkMediaType: m-type SLASH m-subtype *(SEMI param), RFC 3261 §20.1, §20.15.
func checkMediaType(s string) bool {
	head, params := cutParams(s)
	slash := strings.IndexByte(head, '/')
	return slash > 0 && isToken(trimRight(head[:slash])) && isToken(trimLeft(head[slash+1:])) && params.valid()
}

// checkContentType: a media-type, whose parameters all have values.
func checkContentType(s string) bool {
	if !checkMediaType(s) {
		return false
	}
	for _, p := cutParams(s); ; {
		_, _, hasValue, rest, ok := p.next()
		if !ok || !hasValue {
			return !ok
		}
		p = rest
	}
}

// checkSubscriptionState: RFC 6665 §8.4.
func checkSubscriptionState(s string) bool {
	if !checkTokenParams(s) {
		return false
	}
	_, params := cutParams(s)
	for _, name := range [...]string{"expires", "retry-after"} {
		if v, ok := params.raw(name); ok && !checkNumber(v) {
			return false
		}
	}
	return true
}

// checkAccept: media-range is media-type with "*" (a token) for either part. It may be empty (RFC 3261 §20.1).
func checkAccept(v string) bool { return v == "" || eachValue(v, checkMediaType) }

// checkCredentials reads scheme and auth-params; those of Digest must be there once each.
func checkCredentials(s string) bool {
	_, err := ParseCredentials(s)
	return err == nil
}

// checkAuthInfo: ainfo *(COMMA ainfo), RFC 3261 §20.6.
func checkAuthInfo(s string) bool {
	for {
		_, _, rest, more, ok := nextAuthParam(s)
		if !ok || !more {
			return ok
		}
		s = rest
	}
}

// checkRetryAfter: delta-seconds [ comment ] *( SEMI retry-param ), RFC 3261 §20.33.
func checkRetryAfter(s string) bool {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if !checkNumber(s[:n]) {
		return false
	}
	s = trimLeft(s[n:])
	if s != "" && s[0] == '(' {
		if n = skipComment(s); n < 0 {
			return false
		}
		s = trimLeft(s[n:])
	}
	return Params(s).valid()
}

// skipComment returns the index after the comment that starts at s[0] == '(', or -1. Comments nest (RFC 3261 §25.1).
func skipComment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func checkWarnings(v string) bool { return eachValue(v, checkWarning) }

// checkWarning: 3DIGIT SP warn-agent SP quoted-string, RFC 3261 §20.43.
func checkWarning(s string) bool {
	if len(s) < 5 || !allDigits(s[:3]) || s[3] != ' ' {
		return false
	}
	agent, text, ok := strings.Cut(s[4:], " ")
	if !ok || agent == "" || text == "" || text[0] != '"' {
		return false
	}
	if _, _, ok := splitHostPort(agent); !ok && !isToken(agent) {
		return false
	}
	return skipQuoted(text) == len(text) && validQuoted(text)
}

// checkDialogID: callid *( SEMI param ) with each tag once: RFC 3891 §6.1, RFC 3911 §7.1, RFC 4538 §7.
func checkDialogID(s string) bool {
	head, params := cutParams(s)
	return checkCallID(head) && params.valid() && !params.duplicate("to-tag") && !params.duplicate("from-tag") &&
		!params.duplicate("local-tag") && !params.duplicate("remote-tag")
}

// checkRAck: response-num LWS CSeq-num LWS Method, RFC 3262 §7.2.
func checkRAck(s string) bool {
	num, rest, ok := strings.Cut(s, " ")
	if !ok || !checkNumber(num) {
		return false
	}
	_, err := ParseCSeq(trimLeft(rest))
	return err == nil
}

// checkTimestamp: 1*DIGIT [ "." *DIGIT ] [ LWS *DIGIT [ "." *DIGIT ] ], RFC 3261 §20.38.
func checkTimestamp(s string) bool {
	stamp, delay, _ := strings.Cut(s, " ")
	return stamp != "" && isDigit(stamp[0]) && validDecimal(stamp) && validDecimal(trimLeft(delay))
}

func validDecimal(s string) bool {
	whole, part, _ := strings.Cut(s, ".")
	return (whole == "" || allDigits(whole)) && (part == "" || allDigits(part))
}

// checkMIMEVersion: 1*DIGIT "." 1*DIGIT, RFC 3261 §20.24.
func checkMIMEVersion(s string) bool {
	major, minor, ok := strings.Cut(s, ".")
	return ok && allDigits(major) && allDigits(minor)
}
