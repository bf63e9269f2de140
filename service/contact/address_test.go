package contact

import (
	"testing"
	"unicode/utf8"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	s := New(Options{Domains: []string{"example.com"}})
	for text, want := range map[string]string{
		"bob@example.com":                  "bob@example.com",
		" SIP:bob@EXAMPLE.com. ":           "bob@example.com",
		"sips:bob@Example.COM":             "sips:bob@example.com",
		"b%6Fb@example.com":                "bob@example.com",
		"ju\u0308rgen@example.com":         "j%C3%BCrgen@example.com",
		"jürgen@example.com":               "j%C3%BCrgen@example.com",
		"tel:+49 (30) 12-3.4":              "tel:+49301234",
		"TEL:7042;Phone-Context=example.x": "tel:7042;phone-context=example.x",
		"bob@[2001:DB8::1]":                "bob@[2001:db8::1]",
		"bob@example.com;x=y":              "",
		"bob;x@example.com":                "bob;x@example.com",
		"b%2Fo@example.com":                "b/o@example.com",
		"bob@192.0.2.1":                    "bob@192.0.2.1",
		"bob:secret@example.com":           "",
		"bob@example.com?x=y":              "",
		"@example.com":                     "",
		"tel:":                             "",
		"tel:+":                            "",
		"xmpp:bob@example.com":             "",
		"%FF@example.com":                  "",
		"":                                 "",
	} {
		if got, err := s.address(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
}

// Whatever is taken as an address is in its one form then, and fit for the store.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"bob@example.com", "sips:b%6Fb@x.", "tel:+49-30;x=y", "tel:*#a", "sip:ü@x", "sip:a@1.2.3.4"} {
		f.Add(seed)
	}
	s := New(Options{Domains: []string{"example.com"}})
	f.Fuzz(func(t *testing.T, text string) {
		once, err := s.address(text)
		if err != nil {
			return
		}
		if twice, err := s.address(once); err != nil || twice != once {
			t.Errorf("%q is %q, which is %q, %v", text, once, twice, err)
		}
		if len(once) > maxAddress || !utf8.ValidString(once) {
			t.Errorf("%q is %q", text, once)
		}
		for i := range len(once) {
			if once[i] <= ' ' || once[i] >= 0x7f {
				t.Errorf("%q is %q", text, once)
			}
		}
	})
}
