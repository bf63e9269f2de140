package sip

import (
	"errors"
	"strings"
	"testing"

	"github.com/parley-im/parley/base/errs"
)

func TestParseAOR(t *testing.T) {
	for in, want := range map[string]string{
		"alice@example.com":                     "alice@example.com",
		" \tSIP:alice@EXAMPLE.com. ":            "alice@example.com",
		"sips:alice@example.com":                "alice@example.com",
		"Alice@example.com":                     "Alice@example.com", // RFC 3261 §19.1.4: the user is case-sensitive
		"%61lice@example.com":                   "alice@example.com",
		"a%20b@example.com":                     "a%20b@example.com",
		"jürgen@example.com":                    "j%C3%BCrgen@example.com",
		"ju\u0308rgen@example.com":              "j%C3%BCrgen@example.com",
		"+4930123@example.com":                  "+4930123@example.com",
		"bob@[2001:DB8::1]":                     "bob@[2001:db8::1]",
		"":                                      "",
		"alice":                                 "",
		"example.com":                           "",
		"sip:example.com":                       "",
		"@example.com":                          "",
		"alice@":                                "",
		"tel:+4930":                             "",
		"im:alice@example.com":                  "",
		"alice smith@example.com":               "",
		"alice@example.com:5060":                "",
		"alice:secret@example.com":              "",
		"alice@example.com;a=b":                 "",
		"alice@example.com?a=b":                 "",
		"<sip:alice@example.com>":               "",
		"%ff@example.com":                       "",
		"\xff@example.com":                      "",
		"sip:sip:alice@example.com":             "",
		"a@example.com\r\nb@x":                  "",
		strings.Repeat("a", 250) + "@x.example": "",
		strings.Repeat("%61", 250) + "@x.ex":    strings.Repeat("a", 250) + "@x.ex",
	} {
		got, err := ParseAOR(in)
		if got != want || (err == nil) != (want != "") || err != nil && (!errors.Is(err, errs.Invalid) || errs.Reason(err) == errs.Reason(errs.Invalid)) {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
		if again, err := ParseAOR(got); got != "" && (again != got || err != nil) {
			t.Errorf("%q: %q is %q, %v", in, got, again, err)
		}
	}
}
