package call

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/wire/mime"
	"github.com/parley-im/parley/wire/sdp"
	"github.com/parley-im/parley/wire/sip"
)

// This file is the rule of what a message of a call says. Each row of its header is one of three things:
//
//   - closed: the value is of a grammar without room for words, and is checked against it here. It passes. What only
//     programs read, Call-ID, tags, branches and the user part of a Contact, is closed as well.
//   - spare: nobody needs it (RFC 3323 §4.1 calls these headers non-essential) or the proxy takes it out. Removed.
//   - said: everything else, above all what this program has never heard of. It is put on record before it passes, once
//     for each call.
//
// A closed header with a value of another kind is said. A body is said, unless it is on record already or is one that
// package policy has found to be digits and commands.

// speech is what a message says that is not on record.
type speech struct {
	rows  []string // "Name: value"
	names []string // of the rows, as they came
	body  bool
	spare bool // there are rows to be removed
	sums  []uint64
}

func (p *speech) empty() bool { return len(p.rows) == 0 && !p.body }

// memory is what a call has on record, as hashes under a key that nobody knows; nil for a message that belongs to no call.
type memory map[uint64]struct{}

// maxMemory bounds a memory; a call that says more has some of it recorded twice.
const maxMemory = 256

func (k memory) add(sums []uint64) {
	if k == nil {
		return
	}
	if len(k)+len(sums) > maxMemory {
		clear(k)
	}
	for _, sum := range sums {
		k[sum] = struct{}{}
	}
}

// plainRows remembers rows that were found closed, of all calls: what a client writes into one message it writes into the
// next. Rows are kept as hashes under a key that nobody knows; a place holds the last one.
type plainRows [8192]atomic.Uint64

func (k *plainRows) has(sum uint64) bool { return k[sum%uint64(len(k))].Load() == sum }
func (k *plainRows) put(sum uint64)      { k[sum%uint64(len(k))].Store(sum) }

// ear is what listening needs beside the message.
type ear struct {
	seed  maphash.Seed
	plain plainRows
}

func newEar() *ear { return &ear{seed: maphash.MakeSeed()} }

func (e *ear) sum(value string) uint64 { return maphash.String(e.seed, value) }

// closed tells whether a row has no room for words.
func (e *ear) closed(id sip.HeaderID, value string) bool {
	check := closed[id]
	if value == "" || check == nil {
		return value == ""
	}
	sum := e.sum(value) + uint64(id)*0x9E3779B97F4A7C15 // what is closed under one name may be words under another
	if e.plain.has(sum) {
		return true
	}
	if !check(value) {
		return false
	}
	e.plain.put(sum)
	return true
}

// listen finds what m says beyond known, the record of the call. First is the INVITE that begins it, whose record keeps
// what is spare elsewhere.
func (e *ear) listen(m *sip.Message, known memory, first bool) speech {
	var p speech
	say := func(name, value string) {
		sum := e.sum(value)
		if _, ok := known[sum]; !ok && !slices.Contains(p.sums, sum) {
			p.rows, p.names, p.sums = append(p.rows, name+": "+value), append(p.names, name), append(p.sums, sum)
		}
	}
	for name, h := range m.Headers() {
		switch h.ID {
		case sip.HFrom, sip.HTo:
			// Without the tag, and the same on both sides.
			row := e.sum(h.Value)
			if _, ok := known[row]; ok {
				continue
			}
			if n, err := sip.ParseNameAddr(h.Value); err == nil {
				n.Params = n.Params.Without("tag")
				if known == nil && plainAddress(n) {
					continue // there is no call whose parties it could differ from
				}
				say(name, n.String())
				p.sums = append(p.sums, row)
			} else {
				say(name, h.Value)
			}
			continue
		case sip.HSubject:
			if first { // the proxy takes it out of everything else
				say(name, h.Value)
			}
			continue
		case sip.HWarning, sip.HErrorInfo, sip.HOrganization:
			if h.ID == sip.HWarning && m.IsRequest() { // the same
				say(name, h.Value)
			}
			continue
		case sip.HUserAgent, sip.HServer:
			if first {
				say(name, h.Value)
				p.spare = p.spare || m.Count(h.ID) > 1
			} else if _, ok := known[e.sum(h.Value)]; !ok {
				p.spare = true
			}
			continue
		}
		if !e.closed(h.ID, h.Value) {
			say(name, h.Value)
		}
		p.spare = p.spare || spare(h.ID)
	}
	if m.IsRequest() && !first { // of the first, the proxy writes its own
		if u, err := m.URI(); err != nil || !plainAddress(sip.NameAddr{URI: u}) {
			say(requestURI, m.RequestURI())
		}
	}
	if body := m.Body(); len(body) > 0 && !plainBody(m) {
		sum := maphash.Bytes(e.seed, body)
		if _, ok := known[sum]; !ok {
			p.body, p.sums = true, append(p.sums, sum)
		}
	}
	return p
}

// requestURI is the name of the Request-URI among the rows.
const requestURI = "Request-URI"

// spare tells whether a header is taken out wherever it stands: answers to challenges are for the server that asked.
func spare(id sip.HeaderID) bool {
	return id == sip.HAuthorization || id == sip.HProxyAuthorization
}

// tidy takes out what is spare. A User-Agent or Server that is on record stays.
func (e *ear) tidy(m *sip.Message, known memory, first bool) *sip.Message {
	d := m.Edit()
	for _, id := range [...]sip.HeaderID{sip.HAuthorization, sip.HProxyAuthorization} {
		d.Remove(id)
	}
	for _, id := range [...]sip.HeaderID{sip.HUserAgent, sip.HServer} {
		if _, ok := known[e.sum(m.Get(id))]; m.Count(id) > 1 || !first && !ok {
			d.Remove(id)
		}
	}
	return parsed(d, m)
}

// mute leaves of m what needs no record; nil when nothing sensible would remain.
func mute(m *sip.Message, p speech) *sip.Message {
	d := m.Edit()
	for _, name := range p.names {
		switch id := sip.LookupHeader(name); id {
		case sip.HFrom, sip.HTo:
			n, err := sip.ParseNameAddr(m.Get(id))
			if err != nil {
				return nil
			}
			n.Params, n.Display = sip.Params(";tag="+n.Tag()), ""
			if n.Tag() == "" {
				n.Params = ""
			}
			n.URI.Password, n.URI.Params, n.URI.Headers = "", "", ""
			d.Set(id, n.String())
		case sip.HContact:
			list, star, err := m.Contacts()
			if err != nil || star || len(list) != 1 {
				return nil
			}
			n := list[0]
			n.Display, n.Params, n.URI.Headers, n.URI.Password = "", "", "", ""
			if !plainAddress(n) {
				return nil
			}
			d.Set(id, n.String())
		case sip.HVia, sip.HRoute, sip.HRecordRoute, sip.HCallID, sip.HCSeq, sip.HReferTo, sip.HEvent, sip.HRequire:
			return nil
		default:
			if name == requestURI {
				return nil
			}
			d.RemoveName(name)
		}
	}
	if p.body {
		d.Body("", nil)
	}
	return parsed(d, m)
}

// parsed is the draft as a message, or m when it cannot be read, which does not happen to what was a message before.
func parsed(d *sip.Draft, m *sip.Message) *sip.Message {
	if again, err := d.Message(); err == nil {
		return again
	}
	return m
}

// unpacked undoes a Content-Encoding, so that what is recorded is what arrives. What cannot be undone stays and is
// refused by package policy.
func unpacked(m *sip.Message) *sip.Message {
	enc := m.Get(sip.HContentEncoding)
	if enc == "" || len(m.Body()) == 0 {
		return m
	}
	body, err := mime.Inflate(enc, m.Body(), sdp.MaxBytes)
	if err != nil {
		return m
	}
	return parsed(m.Edit().Body(m.Get(sip.HContentType), body), m)
}

// plainBody tells whether a body has no room for words: digits and commands, and how a referred call goes.
func plainBody(m *sip.Message) bool {
	typ, _ := m.ContentType()
	switch typ {
	case "application/dtmf", "application/dtmf-relay", "application/hook-flash", "application/media_control+xml":
		return m.Method() == sip.INFO // package policy reads them to the last letter
	case "message/sipfrag":
		line := strings.TrimRight(string(m.Body()), "\r\n")
		if len(line) < 12 || line[:8] != "SIP/2.0 " {
			return false
		}
		status, err := strconv.Atoi(line[8:11])
		return err == nil && line == "SIP/2.0 "+line[8:11]+" "+sip.StatusText(status)
	}
	return false
}

// closed holds, for each header whose values have no room for words, what makes sure of it.
var closed = [256]func(v string) bool{
	sip.HVia: each(plainVia), sip.HContact: each(address), sip.HRoute: each(address), sip.HRecordRoute: each(address),
	sip.HReferTo: referTo, sip.HReferredBy: address, sip.HPath: each(address), sip.HServiceRoute: each(address),
	sip.HCallID: always, sip.HCSeq: numbers, sip.HMaxForwards: numbers, sip.HContentLength: numbers, sip.HExpires: numbers,
	sip.HMinExpires: numbers, sip.HRSeq: numbers, sip.HRAck: numbers, sip.HMaxBreadth: numbers, sip.HFlowTimer: numbers,
	sip.HTimestamp: numbers, sip.HMIMEVersion: numbers, sip.HDate: date,
	sip.HSessionExpires: params(number, "refresher"), sip.HMinSE: params(number), sip.HRetryAfter: params(number, "duration"),
	sip.HRequire: each(word), sip.HProxyRequire: each(word), sip.HSupported: each(word), sip.HUnsupported: each(word),
	sip.HAllow: each(sip.KnownMethod), sip.HAllowEvents: each(word), sip.HEvent: params(word, "id"), sip.HPrivacy: privacy,
	sip.HSubscriptionState: params(word, "expires", "reason", "retry-after"), sip.HReferSub: params(word), sip.HPriority: word,
	sip.HAccept: each(params(word)), sip.HAcceptEncoding: each(params(word)), sip.HAcceptLanguage: each(params(language, "q")),
	sip.HContentType: params(word, "version", "charset"), sip.HContentEncoding: each(word), sip.HContentLanguage: each(language),
	sip.HContentDisposition: params(word, "handling"), sip.HReason: each(reason), sip.HSessionID: sessionID,
	sip.HReplaces: params(always, "to-tag", "from-tag", "early-only"), sip.HJoin: params(always, "to-tag", "from-tag"),
	sip.HTargetDialog: params(always, "local-tag", "remote-tag"),
	// What the proxy writes itself, or takes out.
	sip.HPAssertedIdentity: always, sip.HPPreferredIdentity: always, sip.HRemotePartyID: always, sip.HPAssociatedURI: always,
	sip.HPCalledPartyID: always, sip.HAuthorization: always, sip.HProxyAuthorization: always,
}

func always(string) bool { return true }

// each checks every value of a row.
func each(check func(string) bool) func(string) bool {
	return func(row string) bool {
		quoted, angle, start := false, false, 0
		for i := 0; i <= len(row); i++ {
			switch {
			case i == len(row) || row[i] == ',' && !quoted && !angle:
				if v := strings.TrimSpace(row[start:i]); v != "" && !check(v) {
					return false
				}
				start = i + 1
			case row[i] == '"' && !angle:
				quoted = !quoted
			case row[i] == '\\' && quoted:
				i++
			case row[i] == '<' && !quoted:
				angle = true
			case row[i] == '>' && !quoted:
				angle = false
			}
		}
		return true
	}
}

// params checks a value with parameters: only those named, whose values are numbers, tags or words of a protocol.
func params(head func(string) bool, names ...string) func(string) bool {
	return func(v string) bool {
		first, rest, _ := strings.Cut(v, ";")
		if !head(strings.TrimSpace(first)) {
			return false
		}
		for name, value := range sip.Params(";" + rest).All() {
			name = strings.ToLower(name)
			if !slices.Contains(names, name) || !strings.HasSuffix(name, "-tag") && value != "" && !number(value) && !word(value) {
				return false
			}
		}
		return true
	}
}

func number(v string) bool { return v != "" && strings.Trim(v, "0123456789.") == "" }

// numbers are some in a row; CSeq and RAck have a method among them.
func numbers(v string) bool {
	for f := range strings.FieldsSeq(v) {
		if !number(f) && !sip.KnownMethod(f) {
			return false
		}
	}
	return true
}

func date(v string) bool {
	_, err := time.Parse(time.RFC1123, v)
	return err == nil
}

// language is a language tag that is short: "en", "de-CH", "*".
func language(v string) bool {
	primary, rest, _ := strings.Cut(v, "-")
	return v == "*" || len(primary) <= 3 && len(rest) <= 4
}

func privacy(v string) bool {
	for f := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
		if !word(f) {
			return false
		}
	}
	return true
}

// reason is RFC 3326 with the text that belongs to the cause, or without one.
func reason(v string) bool {
	protocol, rest, _ := strings.Cut(v, ";")
	protocol = strings.TrimSpace(protocol)
	if !strings.EqualFold(protocol, "SIP") && !strings.EqualFold(protocol, "Q.850") {
		return false
	}
	ps := sip.Params(";" + rest)
	cause, _ := ps.Get("cause")
	for name, value := range ps.All() {
		switch {
		case strings.EqualFold(name, "cause") && number(value):
		case strings.EqualFold(name, "text") && (word(value) || standardText(cause, value)):
		default:
			return false
		}
	}
	return true
}

func standardText(cause, text string) bool {
	n, err := strconv.Atoi(cause)
	return err == nil && n >= 100 && n < 700 && text == sip.StatusText(n)
}

// sessionID is RFC 7989: 32 hexadecimal digits, and those of the other side.
func sessionID(v string) bool {
	first, rest, more := strings.Cut(v, ";")
	other, ok := strings.CutPrefix(strings.TrimSpace(rest), "remote=")
	return hex32(strings.TrimSpace(first)) && (!more || ok && hex32(other))
}

func hex32(v string) bool { return len(v) == 32 && strings.Trim(v, "0123456789abcdef") == "" }

func plainVia(v string) bool {
	via, err := sip.ParseVia(v)
	return err == nil && only(via.Params, viaParams)
}

func address(v string) bool {
	n, err := sip.ParseNameAddr(v)
	return err == nil && plainAddress(n)
}

// plainAddress: no name, and no parameter that could be one.
func plainAddress(n sip.NameAddr) bool {
	return n.Display == "" && n.URI.Headers == "" && n.URI.Password == "" && n.URI.Opaque == "" && only(n.URI.Params, uriParams) && only(n.Params, addressParams)
}

// referTo is address, of which the proxy leaves what a transfer needs: neither a name nor headers but Replaces.
func referTo(v string) bool {
	n, err := sip.ParseNameAddr(v)
	n.Display, n.URI.Headers = "", ""
	return err == nil && plainAddress(n)
}

// only tells whether all parameters are known, and their values what programs exchange: no spaces, and not long.
func only(p sip.Params, known map[string]bool) bool {
	if p == "" {
		return true
	}
	for name, value := range p.All() {
		if !known[strings.ToLower(name)] || len(value) > 128 || strings.ContainsAny(value, " \t") || strings.Contains(value, "%20") {
			return false
		}
	}
	return true
}

// word tells whether v is a word of a protocol.
func word(v string) bool { return words[v] || words[strings.ToLower(v)] }

func set(list string) map[string]bool {
	m := map[string]bool{}
	for f := range strings.FieldsSeq(list) {
		m[f] = true
	}
	return m
}

// What may stand where a grammar leaves the choice. Anything else is no error: it is said, and recorded.
var (
	viaParams     = set("branch received rport maddr ttl alias keep comp oc oc-algo oc-seq oc-validity")
	uriParams     = set("transport lr ob gr maddr user ttl method comp alias rinstance line r2")
	addressParams = set(`expires q reg-id +sip.instance pub-gruu temp-gruu tag audio video text application data control automata
		duplex mobility methods events schemes isfocus +sip.ice +sip.rendering +sip.byeless r2`)
	words = func() map[string]bool {
		m := set(`100rel 199 answermode early-session eventlist explicitsub from-change geolocation-http geolocation-sip gin gruu
			histinfo ice join multiple-refer norefersub nosub outbound path policy precondition pref privacy recipient-list-invite
			recipient-list-message recipient-list-subscribe record-aware replaces resource-priority sdp-anat sec-agree siprec tdialog
			timer trickle-ice uui conference dialog kpml message-summary presence presence.winfo reg refer talk hold cpim line-seize
			call-info as-feature-event sla uaprofile vq-rtcpxr xcap-diff
			active pending terminated deactivated probation rejected timeout giveup noresource invariant uac uas true false
			emergency urgent normal non-urgent header session user none critical id history
			render early-session icon alert optional required
			application/sdp application/dtmf-relay application/dtmf application/hook-flash application/media_control+xml
			message/sipfrag message/cpim message/imdn+xml message/sip text/plain text/html text/* application/* multipart/* */*
			multipart/mixed multipart/alternative multipart/related application/xml application/pidf+xml application/pidf-diff+xml
			application/rlmi+xml application/reginfo+xml application/dialog-info+xml application/simple-message-summary
			application/conference-info+xml application/im-iscomposing+xml application/isup
			application/vnd.gsma.rcs-ft-http+xml application/resource-lists+xml application/watcherinfo+xml
			identity deflate gzip utf-8 us-ascii iso-8859-1 2.0`)
		m["Call completed elsewhere"], m["Terminated"], m["No answer"] = true, true, true
		return m
	}()
)
