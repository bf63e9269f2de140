package sip

import (
	"errors"
	"unicode/utf8"
)

// Check looks strictly at everything in m that this package understands: what Parse found, the
// Request-URI, the consistency of the message and the grammar of each known header. It returns nil,
// or what to answer (RFC 4475): 400, 413, 416, 501 or 505. It allocates nothing for a good message.
//
// What needs knowledge of the server is not its matter: methods (405, 501), extensions (420), media types
// (415), Max-Forwards of 0 (483), credentials (401), which schemes of those it lets through (sip, sips, tel, im, pres) are
// served. Headers that are ours to write or to strip (P-Asserted-Identity and its kin) and Date, which
// RFC 4475 §3.1.2.12 would not have us refuse, are not looked at.
func Check(m *Message) *Error {
	if m.err != nil {
		return m.err
	}
	if m.method != "" {
		if e := checkRequestURI(m.uri); e != nil {
			return e
		}
		if e := checkMethod(m); e != nil {
			return e
		}
	} else if !cleanText(m.reason) {
		return bad("Malformed Reason Phrase", "")
	}
	for i := range m.fields {
		f := &m.fields[i]
		v := m.buf[f.value:f.end]
		if !cleanText(v) {
			return bad("Control Character or Bad UTF-8 in Header", m.name(*f))
		}
		if check := headerChecks[f.id]; check != nil && !check(v) {
			return bad("Malformed "+f.id.String()+" Header", v)
		}
	}
	return checkContacts(m)
}

// headerChecks tells for each known header whether the value of a row is well-formed. The value has its white space
// and folds taken off.
var headerChecks = [numHeaders]func(v string) bool{
	HVia:                     checkVias,
	HFrom:                    checkFromTo,
	HTo:                      checkFromTo,
	HCallID:                  checkCallID,
	HContact:                 checkContactRow,
	HMaxForwards:             checkMaxForwards,
	HRoute:                   checkNameAddrs,
	HRecordRoute:             checkNameAddrs,
	HPath:                    checkNameAddrs,
	HServiceRoute:            checkNameAddrs,
	HReplyTo:                 checkAddress,
	HReferTo:                 checkAddress,
	HReferredBy:              checkAddress,
	HContentType:             checkContentType,
	HContentEncoding:         checkTokens,
	HContentDisposition:      checkTokenParams,
	HContentLanguage:         checkTokens,
	HExpires:                 checkNumber,
	HMinExpires:              checkNumber,
	HRequire:                 checkTokens,
	HProxyRequire:            checkTokens,
	HSupported:               checkOptionalTokens,
	HUnsupported:             checkTokens,
	HAllow:                   checkOptionalTokens,
	HAllowEvents:             checkOptionalTokens,
	HAccept:                  checkAccept,
	HAcceptEncoding:          checkTokenParamsList,
	HAcceptLanguage:          checkTokenParamsList,
	HAuthorization:           checkCredentials,
	HProxyAuthorization:      checkCredentials,
	HWWWAuthenticate:         checkCredentials,
	HProxyAuthenticate:       checkCredentials,
	HAuthenticationInfo:      checkAuthInfo,
	HProxyAuthenticationInfo: checkAuthInfo,
	HEvent:                   checkTokenParams,
	HSubscriptionState:       checkSubscriptionState,
	HRetryAfter:              checkRetryAfter,
	HWarning:                 checkWarnings,
	HReplaces:                checkDialogID,
	HJoin:                    checkDialogID,
	HTargetDialog:            checkDialogID,
	HSessionExpires:          checkNumberParams,
	HMinSE:                   checkNumberParams,
	HPriority:                isToken,
	HRSeq:                    checkNumber,
	HRAck:                    checkRAck,
	HReason:                  checkTokenParamsList,
	HMaxBreadth:              checkNumber,
	HSIPETag:                 isToken,
	HSIPIfMatch:              isToken,
	HFlowTimer:               checkNumber,
	HTimestamp:               checkTimestamp,
	HMIMEVersion:             checkMIMEVersion,
	HInReplyTo:               checkCallIDs,
	HAlertInfo:               checkInfoURIs,
	HCallInfo:                checkInfoURIs,
	HErrorInfo:               checkInfoURIs,
	HAcceptContact:           checkCallerPrefs,
	HRejectContact:           checkCallerPrefs,
	HRequestDisposition:      checkTokens,
	HInfoPackage:             checkTokenParams,
	HRecvInfo:                checkTokenParamsList,
}

// checkRequestURI parses the Request-URI. Escaped headers may not be in it (RFC 3261 §19.1.1 table 1, RFC 4475 §3.1.2.11).
func checkRequestURI(s string) *Error {
	u, err := ParseURI(s)
	if err != nil {
		return bad("Malformed Request-URI", s)
	}
	switch u.Scheme {
	case "sip", "sips":
		if u.Headers != "" {
			return bad("Headers in Request-URI", s)
		}
	case "tel", "im", "pres":
	default:
		// RFC 3261 §8.2.2.1, §16.3 step 2
		return &Error{Status: 416, Reason: StatusText(416), Detail: u.Scheme}
	}
	return nil
}

// checkMethod compares the method with CSeq's (RFC 3261 §8.1.1.5, §8.2.2). Of a method that nobody knows
// the mismatch is less telling than that (RFC 4475 §3.1.2.18).
func checkMethod(m *Message) *Error {
	c, err := m.CSeq()
	if err != nil {
		return asError(err)
	}
	if c.Method == m.method {
		return nil
	}
	if !KnownMethod(m.method) {
		return &Error{Status: 501, Reason: StatusText(501), Detail: m.method}
	}
	return bad("CSeq Method Does Not Match", c.Method)
}

// KnownMethod tells whether the method is one of the constants of this package, which are all
// that the IANA registry holds.
func KnownMethod(method string) bool {
	switch method {
	case INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REFER, INFO, PRACK, UPDATE:
		return true
	}
	return false
}

// cleanText tells whether s is TEXT-UTF8: valid UTF-8 without control characters other than HT. A
// quoted-pair may hold them (RFC 3261 §25.1, RFC 4475 §3.1.1.2); whether it stands in quotes is looked at
// where the header's grammar is known.
func cleanText(s string) bool {
	// Eight bytes at a time while all are printable ASCII: no byte is below 0x20, is 0x7f or has its top bit set.
	i := 0
	for ; i+8 <= len(s); i += 8 {
		const ones, tops = 0x0101010101010101, 0x8080808080808080
		if w := load64(s[i:]); ((w-ones*' ')|w|(w+ones))&tops != 0 {
			break
		}
	}
	high := false
	for ; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c < 0x7f || c == '\t' {
			continue
		}
		if c >= 0x80 {
			high = true
		} else if i == 0 || s[i-1] != '\\' || c == '\r' || c == '\n' {
			return false
		}
	}
	return !high || utf8.ValidString(s)
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return bad(StatusText(400), err.Error())
}
