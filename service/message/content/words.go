package content

import (
	"strings"

	"github.com/parley-im/parley/store"
)

// Words is what a person would read in a record, for the index of words; "" when there is nothing to read.
func Words(r *store.Record) string {
	switch r.Kind {
	case store.KindReceipt, store.KindReaction, store.KindRetract:
		return ""
	case store.KindCallStart, store.KindCallText:
		return callText(r)
	case store.KindMessage, store.KindEdit:
		c := Read(r)
		if c.Subject == "" && c.File == nil { // most messages
			return strings.TrimSpace(c.Text)
		}
		texts := []string{c.Subject, c.Text}
		if c.File != nil {
			texts = append(texts, c.File.Name)
		}
		return strings.TrimSpace(strings.Join(texts, "\n"))
	}
	return strings.TrimSpace(r.MetaValue(store.MetaSubject) + "\n" + otherText(r))
}

// otherText is the text of administrative acts and their like.
func otherText(r *store.Record) string {
	media, _, _ := strings.Cut(r.ContentType, ";")
	if media = strings.ToLower(strings.TrimSpace(media)); strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "xml") {
		return string(r.Body)
	}
	return ""
}

// callText is what a call shows to people: the subject, what was said in headers, and the lines of a description that are
// for people (RFC 4566 §5).
func callText(r *store.Record) string {
	texts := []string{r.MetaValue(store.MetaSubject), r.MetaValue(store.MetaHeaders)}
	for line := range strings.Lines(string(r.Body)) {
		line = strings.TrimSpace(line)
		if len(line) > 2 && line[1] == '=' && strings.IndexByte("siuep", line[0]) >= 0 && line != "s=-" {
			texts = append(texts, line[2:])
		}
	}
	return strings.TrimSpace(strings.Join(texts, "\n"))
}
