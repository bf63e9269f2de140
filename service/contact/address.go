package contact

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/wire/sip"
)

// maxAddress is in bytes.
const maxAddress = 255

// address checks an address and returns it in its one form: "bob@example.com" for a SIP address, with or without "sip:" in
// front; "sips:bob@example.com" and "tel:+4930123" stay what they are.
func (s *Service) address(text string) (string, error) {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(text), ":")
	if !ok || strings.Contains(scheme, "@") {
		scheme, rest = "sip", strings.TrimSpace(text)
	}
	scheme = strings.ToLower(scheme)
	canonical := ""
	switch scheme {
	case "sip", "sips":
		aor, err := sip.ParseAOR("sip:" + rest)
		if canonical = aor; err == nil && scheme == "sips" {
			canonical = "sips:" + canonical
		}
	case "tel":
		canonical = telOf(rest)
	default:
		return "", errs.New(errs.Invalid, "contact: an address of the kind %q cannot be reached from here; write bob@%s or tel:+4930123456", shorten(scheme), s.o.Domains[0])
	}
	if canonical == "" || len(canonical) > maxAddress {
		return "", errs.New(errs.Invalid, "contact: %q is not an address; write it as bob@%s or tel:+4930123456", shorten(text), s.o.Domains[0])
	}
	return canonical, nil
}

// telOf is a telephone number without what only makes it readable, "" when it is none.
//
// RFC 3966 §5.1.1: visual separators and the case of letters do not count.
func telOf(text string) string {
	u, err := sip.ParseURI("tel:" + strings.ToLower(strings.ReplaceAll(text, " ", "")))
	if err != nil {
		return ""
	}
	number, params, ok := strings.Cut(u.Opaque, ";")
	number = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.()", r) {
			return -1
		}
		return r
	}, number)
	if ok {
		number += ";" + params
	}
	return "tel:" + number
}

// reachable refuses an address in one of our domains that nobody has: it would be a slip of the pen.
func (s *Service) reachable(ctx context.Context, address string) error {
	_, domain, _ := strings.Cut(address, "@")
	if strings.HasPrefix(address, "tel:") || !s.own(domain) {
		return nil
	}
	_, err := s.o.Store.User(ctx, strings.TrimPrefix(address, "sips:"))
	return missing(err, address)
}

func (s *Service) own(domain string) bool {
	return slices.ContainsFunc(s.o.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
}

// domain checks a domain and returns it in lower case.
func domain(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "@"), "."))
	u, err := sip.ParseURI("sip:" + name)
	if err != nil || u.User != "" || u.Host != name || len(name) > maxAddress {
		return "", errs.New(errs.Invalid, "contact: %q is not a domain; write it as example.com", shorten(text))
	}
	return name, nil
}

// shorten keeps an error readable whatever was given.
func shorten(text string) string {
	if len(text) > maxAddress {
		return strings.ToValidUTF8(text[:maxAddress], "") + "…"
	}
	return text
}

// label checks a text that is shown to people.
func label(what, text string, most int) (string, error) {
	text = strings.TrimSpace(text)
	bad := func(r rune) bool { return unicode.IsControl(r) && !(r == '\n' && what == "note") }
	if len(text) > most || !utf8.ValidString(text) || strings.ContainsFunc(text, bad) {
		return "", errs.New(errs.Invalid, "contact: the %s %q is longer than %d bytes or holds characters that cannot be shown", what, shorten(text), most)
	}
	return text, nil
}
