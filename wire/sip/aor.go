package sip

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/parley-im/parley/base/errs"
)

// MaxAOR is the longest address that anybody can have, in bytes.
const MaxAOR = 255

// ParseAOR reads an address as people write it, "bob@example.com", with or without "sip:" or "sips:" in front, and returns it in its one
// form: see URI.AOR. Letters beyond ASCII may stand bare. A password, port, parameters or headers in it would be lost without a
// word, so they are refused. Errors are of kind Invalid and have words for people.
func ParseAOR(text string) (string, error) {
	rest := strings.TrimSpace(text)
	if scheme, after, ok := strings.Cut(rest, ":"); ok && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")) {
		rest = after
	}
	if len(rest) > 3*MaxAOR { // each byte may be written with three
		return "", errNoAOR(text)
	}
	u, err := ParseURI("sip:" + escapeLetters(rest))
	aor := u.AOR()
	if err != nil || aor == "" || len(aor) > MaxAOR || u.Password != "" || u.Port != 0 || u.Params != "" || u.Headers != "" || !utf8.ValidString(Unescape(u.User)) {
		return "", errNoAOR(text)
	}
	return aor, nil
}

func errNoAOR(text string) error {
	return errs.Say(errs.New(errs.Invalid, "sip: %.80q is no address", text), "an address looks like alice@example.com")
}

// escapeLetters writes letters beyond ASCII as SIP has them, in the composed form: jürgen is one person however typed.
func escapeLetters(text string) string {
	text = norm.NFC.String(text)
	var b strings.Builder
	for i := range len(text) {
		if text[i] < utf8.RuneSelf {
			b.WriteByte(text[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", text[i])
		}
	}
	return b.String()
}
