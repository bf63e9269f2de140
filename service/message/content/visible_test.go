package content

import "testing"

func TestVisible(t *testing.T) {
	for _, s := range []string{
		"", " \t\r\n", "\u200b", "\u200b\u200c\u200d\u2060\ufeff", "\u202e\u202c \u2066\u2069\u200e\u200f\u061c", "\u00a0\u2003\u3000\u2028\u0085", "\u00ad",
		"\ufe0f\ufe0e", "\u034f", "\u115f\u1160\u3164\uffa0", "\u17b4\u180b\u180e", "\U000e0067\U000e007f", "\U000e0100", "\u2800", "\x00\x1b", "\u2065", "\ufff9",
	} {
		if Visible(s) {
			t.Errorf("%q is taken for something to see", s)
		}
		if s = Sanitise("<blockquote><p><em>" + s + "</em></p><br></blockquote>"); VisibleHTML(s) {
			t.Errorf("%q is taken for something to see", s)
		}
	}
	for _, s := range []string{
		"a", "\u200b.", "ß", "漢", "❤️", "\u0301", "שלום", "\u202eabc\u202c", "🏴\U000e0067\U000e007f", "\u0600", "\ufffd", "\ue000", "\xff", "\U0001fae9",
	} {
		if !Visible(s) {
			t.Errorf("%q is taken for nothing", s)
		}
		if s = Sanitise("<strong>" + Escape(s) + "</strong>"); !VisibleHTML(s) {
			t.Errorf("%q is taken for nothing", s)
		}
	}
}
