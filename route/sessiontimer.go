package route

import (
	"strconv"
	"strings"

	"github.com/parley-im/parley/wire/sip"
)

// sessionTimer is what a proxy remembers between a session refresh request and
// its response. RFC 4028 §8. The zero value does nothing: not INVITE or UPDATE.
type sessionTimer struct {
	active  bool
	uac     bool   // the caller supports timers
	value   uint32 // Session-Expires of the forwarded request, seconds
	set     string // new Session-Expires value, "" to leave it
	setMin  uint32 // new Min-SE, 0 to leave it
	tooLow  bool   // 422
	minimum uint32
}

// newSessionTimer decides what to do with a request. ask and minimum are in
// seconds; minimum is at least 90.
func newSessionTimer(m *sip.Message, ask, minimum uint32) sessionTimer {
	method := m.Method()
	if ask == 0 || method != sip.INVITE && method != sip.UPDATE {
		return sessionTimer{}
	}
	t := sessionTimer{active: true, minimum: minimum, uac: m.HasToken(sip.HSupported, "timer")}
	minSE, hasMin := seconds(m.Get(sip.HMinSE))
	floor := max(minSE, 90)
	have, ok := seconds(m.Get(sip.HSessionExpires))
	switch {
	case !ok:
		t.value = max(ask, floor)
		t.set = strconv.FormatUint(uint64(t.value), 10)
	case have < minimum && t.uac:
		t.tooLow = true
	case have < minimum:
		// A refusal would not be understood: raise both.
		t.setMin = max(minimum, minSE)
		t.value = t.setMin
	case have < floor:
		t.value = floor
	case have > ask && ask >= floor:
		t.value = ask
	default:
		t.value = have
	}
	if ok && !t.tooLow && t.value != have {
		// The refresher parameter is neither inserted nor changed.
		_, params, _ := strings.Cut(m.Get(sip.HSessionExpires), ";")
		t.set = strconv.FormatUint(uint64(t.value), 10)
		if params != "" {
			t.set += ";" + params
		}
	}
	if hasMin && t.setMin == minSE {
		t.setMin = 0
	}
	return t
}

// request applies the decision to the copy that is forwarded. RFC 4028 §8.1.
func (t *sessionTimer) request(d *sip.Draft) {
	if t.set != "" {
		d.Set(sip.HSessionExpires, t.set)
	}
	if t.setMin > 0 {
		d.Set(sip.HMinSE, strconv.FormatUint(uint64(t.setMin), 10))
	}
}

// response tells the caller about the timer when the callee knows none.
// RFC 4028 §8.2.
func (t *sessionTimer) response(m *sip.Message, d *sip.Draft) {
	if !t.active || !t.uac || m.Status() < 200 || m.Status() > 299 || m.Has(sip.HSessionExpires) {
		return
	}
	if method := m.Method(); method != sip.INVITE && method != sip.UPDATE {
		return
	}
	d.Add(sip.HSessionExpires, strconv.FormatUint(uint64(t.value), 10)+";refresher=uac")
	if !m.HasToken(sip.HRequire, "timer") {
		d.Add(sip.HRequire, "timer")
	}
}

// seconds reads a delta-seconds before any parameters.
func seconds(v string) (uint32, bool) {
	v, _, _ = strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
	return uint32(n), err == nil
}
