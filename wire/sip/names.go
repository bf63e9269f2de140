package sip

import "strings"

// HeaderID names a header field that this package knows. The zero value is HOther: every other name.
type HeaderID uint8

// The header fields known by name; String gives the spelling used on the wire.
const (
	HOther HeaderID = iota
	HVia
	HFrom
	HTo
	HCallID
	HCSeq
	HContact
	HMaxForwards
	HRoute
	HRecordRoute
	HPath // RFC 3327
	HContentType
	HContentLength
	HContentEncoding
	HContentDisposition
	HContentLanguage
	HExpires
	HMinExpires
	HRequire
	HProxyRequire
	HSupported
	HUnsupported
	HAllow
	HAllowEvents // RFC 6665
	HAccept
	HAcceptEncoding
	HAcceptLanguage
	HAuthorization
	HProxyAuthorization
	HWWWAuthenticate
	HProxyAuthenticate
	HAuthenticationInfo
	HProxyAuthenticationInfo // RFC 7615
	HEvent                   // RFC 6665
	HSubscriptionState       // RFC 6665
	HDate
	HUserAgent
	HServer
	HRetryAfter
	HWarning
	HPAssertedIdentity  // RFC 3325
	HPPreferredIdentity // RFC 3325
	HPrivacy            // RFC 3323
	HReferTo            // RFC 3515
	HReferredBy         // RFC 3892
	HReferSub           // RFC 4488
	HReplaces           // RFC 3891
	HJoin               // RFC 3911
	HTargetDialog       // RFC 4538
	HSessionExpires     // RFC 4028
	HMinSE              // RFC 4028
	HSubject
	HPriority
	HRSeq            // RFC 3262
	HRAck            // RFC 3262
	HReason          // RFC 3326
	HMaxBreadth      // RFC 5393
	HSIPETag         // RFC 3903
	HSIPIfMatch      // RFC 3903
	HSuppressIfMatch // RFC 5839
	HFlowTimer       // RFC 5626
	HServiceRoute    // RFC 3608
	HTimestamp
	HMIMEVersion
	HAlertInfo
	HCallInfo
	HErrorInfo
	HInReplyTo
	HOrganization
	HReplyTo
	HAcceptContact      // RFC 3841
	HRejectContact      // RFC 3841
	HRequestDisposition // RFC 3841
	HIdentity           // RFC 8224
	HIdentityInfo       // RFC 4474
	HHistoryInfo        // RFC 7044
	HDiversion          // RFC 5806
	HFeatureCaps        // RFC 6809
	HInfoPackage        // RFC 6086
	HRecvInfo           // RFC 6086
	HGeolocation        // RFC 6442
	HPAssociatedURI     // RFC 7315
	HPCalledPartyID     // RFC 7315
	HRemotePartyID      // draft-ietf-sip-privacy: an old twin of P-Asserted-Identity
	HResourcePriority   // RFC 4412
	HSessionID          // RFC 7989
	HUserToUser         // RFC 7433
	HAnswerMode         // RFC 5373
	HTriggerConsent     // RFC 5360
	HPermissionMissing  // RFC 5360
	numHeaders
)

// headerNames holds, for each HeaderID, the name on the wire and its compact form (0: none).
var headerNames = [numHeaders]struct {
	name    string
	compact byte
}{
	HVia:                     {"Via", 'v'},
	HFrom:                    {"From", 'f'},
	HTo:                      {"To", 't'},
	HCallID:                  {"Call-ID", 'i'},
	HCSeq:                    {"CSeq", 0},
	HContact:                 {"Contact", 'm'},
	HMaxForwards:             {"Max-Forwards", 0},
	HRoute:                   {"Route", 0},
	HRecordRoute:             {"Record-Route", 0},
	HPath:                    {"Path", 0},
	HContentType:             {"Content-Type", 'c'},
	HContentLength:           {"Content-Length", 'l'},
	HContentEncoding:         {"Content-Encoding", 'e'},
	HContentDisposition:      {"Content-Disposition", 0},
	HContentLanguage:         {"Content-Language", 0},
	HExpires:                 {"Expires", 0},
	HMinExpires:              {"Min-Expires", 0},
	HRequire:                 {"Require", 0},
	HProxyRequire:            {"Proxy-Require", 0},
	HSupported:               {"Supported", 'k'},
	HUnsupported:             {"Unsupported", 0},
	HAllow:                   {"Allow", 0},
	HAllowEvents:             {"Allow-Events", 'u'},
	HAccept:                  {"Accept", 0},
	HAcceptEncoding:          {"Accept-Encoding", 0},
	HAcceptLanguage:          {"Accept-Language", 0},
	HAuthorization:           {"Authorization", 0},
	HProxyAuthorization:      {"Proxy-Authorization", 0},
	HWWWAuthenticate:         {"WWW-Authenticate", 0},
	HProxyAuthenticate:       {"Proxy-Authenticate", 0},
	HAuthenticationInfo:      {"Authentication-Info", 0},
	HProxyAuthenticationInfo: {"Proxy-Authentication-Info", 0},
	HEvent:                   {"Event", 'o'},
	HSubscriptionState:       {"Subscription-State", 0},
	HDate:                    {"Date", 0},
	HUserAgent:               {"User-Agent", 0},
	HServer:                  {"Server", 0},
	HRetryAfter:              {"Retry-After", 0},
	HWarning:                 {"Warning", 0},
	HPAssertedIdentity:       {"P-Asserted-Identity", 0},
	HPPreferredIdentity:      {"P-Preferred-Identity", 0},
	HPrivacy:                 {"Privacy", 0},
	HReferTo:                 {"Refer-To", 'r'},
	HReferredBy:              {"Referred-By", 'b'},
	HReferSub:                {"Refer-Sub", 0},
	HReplaces:                {"Replaces", 0},
	HJoin:                    {"Join", 0},
	HTargetDialog:            {"Target-Dialog", 0},
	HSessionExpires:          {"Session-Expires", 'x'},
	HMinSE:                   {"Min-SE", 0},
	HSubject:                 {"Subject", 's'},
	HPriority:                {"Priority", 0},
	HRSeq:                    {"RSeq", 0},
	HRAck:                    {"RAck", 0},
	HReason:                  {"Reason", 0},
	HMaxBreadth:              {"Max-Breadth", 0},
	HSIPETag:                 {"SIP-ETag", 0},
	HSIPIfMatch:              {"SIP-If-Match", 0},
	HSuppressIfMatch:         {"Suppress-If-Match", 0},
	HFlowTimer:               {"Flow-Timer", 0},
	HServiceRoute:            {"Service-Route", 0},
	HTimestamp:               {"Timestamp", 0},
	HMIMEVersion:             {"MIME-Version", 0},
	HAlertInfo:               {"Alert-Info", 0},
	HCallInfo:                {"Call-Info", 0},
	HErrorInfo:               {"Error-Info", 0},
	HInReplyTo:               {"In-Reply-To", 0},
	HOrganization:            {"Organization", 0},
	HReplyTo:                 {"Reply-To", 0},
	HAcceptContact:           {"Accept-Contact", 'a'},
	HRejectContact:           {"Reject-Contact", 'j'},
	HRequestDisposition:      {"Request-Disposition", 'd'},
	HIdentity:                {"Identity", 'y'},
	HIdentityInfo:            {"Identity-Info", 'n'},
	HHistoryInfo:             {"History-Info", 0},
	HDiversion:               {"Diversion", 0},
	HFeatureCaps:             {"Feature-Caps", 0},
	HInfoPackage:             {"Info-Package", 0},
	HRecvInfo:                {"Recv-Info", 0},
	HGeolocation:             {"Geolocation", 0},
	HPAssociatedURI:          {"P-Associated-URI", 0},
	HPCalledPartyID:          {"P-Called-Party-ID", 0},
	HRemotePartyID:           {"Remote-Party-ID", 0},
	HResourcePriority:        {"Resource-Priority", 0},
	HSessionID:               {"Session-ID", 0},
	HUserToUser:              {"User-to-User", 0},
	HAnswerMode:              {"Answer-Mode", 0},
	HTriggerConsent:          {"Trigger-Consent", 0},
	HPermissionMissing:       {"Permission-Missing", 0},
}

// String is the header's long name as it is written on the wire; "" for HOther.
func (id HeaderID) String() string {
	if id >= numHeaders {
		return ""
	}
	return headerNames[id].name
}

// nameKey is a name's length and its letters with the case bit set: both ends, eight bytes each, which overlap
// in short names and leave out the middle of names longer than 16 bytes.
type nameKey struct {
	head, tail uint64
	n          int
}

// nameSlots is an open-addressed table of the known names; compactIDs is indexed by the letter.
var (
	nameSlots [512]struct {
		key nameKey
		id  HeaderID
	}
	compactIDs [256]HeaderID
)

func init() {
	for id := HOther + 1; id < numHeaders; id++ {
		key := keyOf(headerNames[id].name)
		h := key.hash()
		for nameSlots[h].id != HOther {
			h = (h + 1) % uint64(len(nameSlots))
		}
		nameSlots[h].key, nameSlots[h].id = key, id
		if c := headerNames[id].compact; c != 0 {
			compactIDs[c], compactIDs[c-'a'+'A'] = id, id
		}
	}
}

const caseBits = 0x2020202020202020

// keyOf: name has at least two bytes.
func keyOf(name string) nameKey {
	n := len(name)
	switch {
	case n >= 8:
		return nameKey{load64(name) | caseBits, load64(name[n-8:]) | caseBits, n}
	case n >= 4:
		return nameKey{uint64(load32(name)) | caseBits, uint64(load32(name[n-4:])) | caseBits, n}
	}
	return nameKey{uint64(name[0]) | caseBits, uint64(name[1])<<8 | uint64(name[n-1]) | caseBits, n}
}

func (k nameKey) hash() uint64 {
	return (k.head*0x9E3779B97F4A7C15 ^ k.tail*0xC2B2AE3D27D4EB4F) >> 55 % uint64(len(nameSlots))
}

func load64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func load32(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// LookupHeader finds a header by its long or compact name in any case (RFC 3261 §7.3.1, §7.3.3).
// It returns HOther for names it does not know. Space around the name is not expected here: Parse
// has taken it off.
func LookupHeader(name string) HeaderID {
	if strings.IndexByte(name, '\r') >= 0 {
		return HOther
	}
	return lookup(name)
}

// lookup is LookupHeader for a name that holds no CR, which the case bit turns into a hyphen.
func lookup(name string) HeaderID {
	if len(name) < 2 {
		if name == "" {
			return HOther
		}
		return compactIDs[name[0]]
	}
	key := keyOf(name)
	h := key.hash()
	for nameSlots[h].key != key {
		if nameSlots[h].id == HOther {
			return HOther
		}
		h = (h + 1) % uint64(len(nameSlots))
	}
	id := nameSlots[h].id
	// The key has not seen the middle of a long name.
	if len(name) > 16 && name != headerNames[id].name && !equalFold(name, headerNames[id].name) {
		return HOther
	}
	return id
}

// The traits of a header, bits of headerTraits.
const (
	traitList   = 1 << iota // see isList
	traitSingle             // see isSingle
)

var headerTraits [numHeaders]uint8

func init() {
	for _, id := range []HeaderID{
		HVia, HContact, HRoute, HRecordRoute, HPath, HServiceRoute, HContentEncoding, HContentLanguage,
		HRequire, HProxyRequire, HSupported, HUnsupported, HAllow, HAllowEvents,
		HAccept, HAcceptEncoding, HAcceptLanguage, HWarning, HPAssertedIdentity, HPPreferredIdentity,
		HReason, HAlertInfo, HCallInfo, HErrorInfo, HInReplyTo,
		HAcceptContact, HRejectContact, HRequestDisposition, HHistoryInfo, HDiversion, HFeatureCaps,
		HRecvInfo, HGeolocation, HPAssociatedURI, HRemotePartyID, HResourcePriority, HUserToUser,
		HTriggerConsent, HPermissionMissing,
	} {
		headerTraits[id] |= traitList
	}
	for _, id := range []HeaderID{
		HFrom, HTo, HCallID, HCSeq, HMaxForwards, HContentType, HContentLength, HContentDisposition,
		HExpires, HMinExpires, HEvent, HSubscriptionState, HDate, HReferTo, HReferredBy, HReferSub,
		HReplaces, HJoin, HTargetDialog, HSessionExpires, HMinSE, HSubject, HPriority, HRSeq, HRAck,
		HMaxBreadth, HSIPETag, HSIPIfMatch, HSuppressIfMatch, HFlowTimer, HTimestamp, HMIMEVersion,
		HReplyTo, HInfoPackage, HPCalledPartyID, HPrivacy,
	} {
		headerTraits[id] |= traitSingle
	}
}

// isList tells whether several values of the header may share a row, separated by commas (RFC 3261 §7.3.1,
// §20). Rows of any other header are one value each, commas included.
func isList(id HeaderID) bool { return headerTraits[id]&traitList != 0 }

// isSingle tells whether the header may be there once only, with one value. A second row makes the
// message ambiguous, and two elements that read different rows can be played against each other;
// so it is refused with 400 (RFC 4475 §3.3.8). Headers that nothing depends on (Server, Organization …) are not among them.
func isSingle(id HeaderID) bool { return headerTraits[id]&traitSingle != 0 }
