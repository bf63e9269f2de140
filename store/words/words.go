// Package words cuts text into the words by which people search for it. All databases are given the same words, so that they
// find the same.
package words

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/parley-im/parley/store"
)

// Limits of what is taken of one text.
const (
	MaxWords   = 10_000
	MaxWordLen = 64 // bytes; longer words are cut, in the text as in the query
)

// PlainText is the text of a record by which people search for it, without knowing any format but the outlines of CPIM:
// the body of text/*, and of message/cpim what follows its headers.
func PlainText(r *store.Record) string {
	kind, _, _ := strings.Cut(r.ContentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	body := r.Body
	if kind == "message/cpim" {
		// RFC 3862 §2: message headers, an empty line, content headers, an empty line, content.
		kind = ""
		for range 2 {
			head, rest, ok := cutHeaders(body)
			if !ok {
				return ""
			}
			kind, body = contentType(head), rest
		}
	}
	if !strings.HasPrefix(kind, "text/") {
		return ""
	}
	if kind == "text/html" || kind == "text/xml" {
		return dropTags(body)
	}
	return string(body)
}

// cutHeaders cuts at the first empty line.
func cutHeaders(b []byte) (head, rest []byte, ok bool) {
	if head, rest, ok = bytes.Cut(b, []byte("\r\n\r\n")); ok {
		return head, rest, true
	}
	return bytes.Cut(b, []byte("\n\n"))
}

func contentType(head []byte) string {
	for line := range bytes.Lines(head) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(strings.TrimSpace(name), "content-type") {
			value, _, _ = strings.Cut(value, ";")
			return strings.ToLower(strings.TrimSpace(value))
		}
	}
	return "text/plain" // RFC 2045 §5.2
}

// dropTags leaves the text between tags; good enough to find words, and never shown to anyone.
func dropTags(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		i := bytes.IndexByte(b, '<')
		if i < 0 {
			break
		}
		out.Write(b[:i])
		out.WriteByte(' ')
		j := bytes.IndexByte(b[i:], '>')
		if j < 0 {
			return out.String()
		}
		b = b[i+j+1:]
	}
	out.Write(b)
	return out.String()
}

// Fold appends the words of a text, with a space between: runs of letters, marks and digits, in lower case,
// compatibility forms and diacritics folded ("Ärger" is "arger"). Scripts that do not put spaces between words are cut
// into single characters. A word contains no ASCII but [0-9a-z], so that it stays one word in every database.
func Fold(b []byte, text string) []byte {
	for i, n := 0, 0; i < len(text) && n < MaxWords; {
		c := text[i]
		if c < utf8.RuneSelf && !wordByte(c) {
			i++
			continue
		}
		start, ascii := i, true
		for i < len(text) {
			if c := text[i]; c < utf8.RuneSelf {
				if !wordByte(c) {
					break
				}
				i++
				continue
			}
			r, size := utf8.DecodeRuneInString(text[i:])
			if !wordRune(r) {
				break
			}
			ascii = false
			i += size
		}
		switch {
		case i == start: // neither ASCII nor of a word
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
		case ascii:
			b, n = foldASCII(b, text[start:i]), n+1
		default:
			b, n = foldRunes(b, text[start:i]), n+1
		}
	}
	return b
}

func wordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func wordRune(r rune) bool {
	if r < utf8.RuneSelf {
		return wordByte(byte(r))
	}
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r))
}

// foldASCII appends one word.
func foldASCII(b []byte, word string) []byte {
	if len(b) > 0 {
		b = append(b, ' ')
	}
	for i := 0; i < min(len(word), MaxWordLen); i++ {
		c := word[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// foldRunes is for a run with characters beyond ASCII; it may turn out to be several words.
func foldRunes(b []byte, run string) []byte {
	var word []byte
	flush := func() {
		if len(word) > MaxWordLen {
			word = word[:MaxWordLen]
			for !utf8.Valid(word) {
				word = word[:len(word)-1]
			}
		}
		if len(word) > 0 && len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(b, word...)
		word = word[:0]
	}
	for _, r := range norm.NFKD.String(run) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case !wordRune(r): // a compatibility form may hold punctuation: "⑴" is "(1)"
			flush()
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
			flush()
			word = utf8.AppendRune(word, r)
			flush()
		default:
			word = utf8.AppendRune(word, unicode.ToLower(r))
		}
	}
	flush()
	return b
}

// Query cuts what a person typed into words; one that ends in * is a prefix.
func Query(text string) []string {
	var words []string
	for _, field := range strings.Fields(text) {
		list := strings.Fields(string(Fold(nil, field)))
		if n := len(list); n > 0 && strings.HasSuffix(field, "*") {
			list[n-1] += "*"
		}
		words = append(words, list...)
	}
	return words
}
