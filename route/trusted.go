package route

import "github.com/parley-im/parley/wire/sip"

// trustedIDs and trustedNames are headers that only a trusted element may set.
// RFC 3325 §5 and its predecessors. The parser finds a header in every
// spelling: any case, folded, a space before the colon, compact.
var (
	trustedIDs   = []sip.HeaderID{sip.HPAssertedIdentity, sip.HPPreferredIdentity}
	trustedNames = []string{"Remote-Party-ID", "P-Asserted-Service", "P-Preferred-Service", "P-Served-User",
		"P-Charging-Vector", "P-Charging-Function-Addresses", "P-Associated-URI", "P-Called-Party-ID"}
)

// Trusted strips headers that only we may set, from everything that arrives.
func Trusted() Step {
	return Step{
		Name:    "trusted",
		Why:     "before anyone could read an identity that its sender made up",
		Handler: HandlerFunc(trusted),
	}
}

func trusted(r *Request) {
	if hasTrusted(r.Msg) {
		d := r.Msg.Edit()
		stripTrusted(d)
		m, err := d.Message()
		if err != nil {
			r.Reply(400, "")
			return
		}
		r.setMessage(m)
	}
	r.Next()
}

func hasTrusted(m *sip.Message) bool {
	for _, id := range trustedIDs {
		if m.Has(id) {
			return true
		}
	}
	for name := range m.Headers() {
		if isTrustedName(name) {
			return true
		}
	}
	return false
}

// isTrustedName compares without regard to case. The lengths and first letters
// keep it cheap for the headers that every request has.
func isTrustedName(name string) bool {
	if name == "" || (name[0]|0x20) != 'p' && (name[0]|0x20) != 'r' {
		return false
	}
	return containsFold(trustedNames, name)
}

func stripTrusted(d *sip.Draft) {
	for _, id := range trustedIDs {
		d.Remove(id)
	}
	for _, name := range trustedNames {
		d.RemoveName(name)
	}
}
