package words

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parley-im/parley/store"
)

func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"Hello, hello world!":           "hello hello world",
		"a_b c-d e.f 3.14":              "a b c d e f 3 14",
		"naïve ÅNGSTRÖM ﬁne Ⅳ":          "naive angstrom fine iv",
		"日本語 text":                      "日 本 語 text",
		"Привет, МИР":                   "привет мир",
		"\xff\xfebad\xffutf8":           "bad utf8",
		"it's \"quoted\" 'x' (y) ⑴":     "it s quoted x y 1",
		strings.Repeat("x", 100) + " y": strings.Repeat("x", 64) + " y",
	} {
		if got := string(Fold(nil, text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// FuzzFold: words are never empty and hold no ASCII but digits and small letters, so that they are single words for
// both databases and nothing for their query languages.
func FuzzFold(f *testing.F) {
	f.Add("The quick brown fox's café \" ' * \\ \x00 東京 ⑴ ﬁ")
	f.Fuzz(func(t *testing.T, text string) {
		words := string(Fold(nil, text))
		if words != strings.Join(strings.Fields(words), " ") {
			t.Errorf("%q", words)
		}
		for _, w := range strings.Fields(words) {
			if w == "" || len(w) > MaxWordLen || !utf8.ValidString(w) {
				t.Errorf("word %q", w)
			}
			for _, c := range w {
				if c < 0x80 && !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
					t.Errorf("%q in word %q", c, w)
				}
			}
		}
	})
}

func TestQuery(t *testing.T) {
	for text, want := range map[string][]string{
		"":                   nil,
		"?! *":               nil,
		"Hello wor*":         {"hello", "wor*"},
		"a-b* *c":            {"a", "b*", "c"},
		`"x" NEAR(y) -z AND`: {"x", "near", "y", "z", "and"},
		"東京*":                {"東", "京*"},
	} {
		if got := Query(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestPlainText(t *testing.T) {
	for _, c := range []struct{ contentType, body, want string }{
		{"text/plain", "hello", "hello"},
		{"TEXT/Plain; charset=utf-8", "hello", "hello"},
		{"text/html", "<p>one<br>two</p", " one two "},
		{"application/json", `{"a":1}`, ""},
		{"", "hello", ""},
		{"message/cpim", "From: <im:a@x>\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n\r\nyou", "hello\r\n\r\nyou"},
		{"message/cpim", "From: <im:a@x>\n\nContent-ID: 1\n\nhello", "hello"},
		{"message/cpim", "From: <im:a@x>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n<imdn/>", ""},
		{"message/cpim", "From: <im:a@x>", ""},
	} {
		if got := PlainText(&store.Record{ContentType: c.contentType, Body: []byte(c.body)}); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.contentType, c.body, got, c.want)
		}
	}
}

func BenchmarkFold(b *testing.B) {
	text := strings.Repeat("A body of four hundred bytes, in words ", 11)[:400]
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = Fold(out[:0], text)
	}
}
