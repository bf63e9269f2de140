package content

import (
	"strings"

	"github.com/parley-im/parley/store"
)

// MaxQuote is the longest quote of another message, in characters.
const MaxQuote = 200

// Beginning is the beginning of a text in one line, up to n characters, as it is quoted.
func Beginning(text string, n int) string {
	if len(text) > 16*n { // no need to look at the whole of a long one
		text = cut(text, 16*n)
	}
	return line(text, n)
}

// QuoteOf is how a message is quoted by others: the beginning of its text, or the name of its file.
func QuoteOf(r *store.Record) string {
	c := Read(r)
	switch {
	case strings.TrimSpace(c.Text) != "":
		return Beginning(c.Text, MaxQuote)
	case c.File != nil:
		return Beginning(c.File.title(), MaxQuote)
	}
	return Beginning(c.Subject, MaxQuote)
}
