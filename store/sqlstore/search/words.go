package search

import "strings"

// Words is how one of the databases is asked for words.
type Words struct {
	// find selects the seqs of records with all words; %s stands for further conditions. $1 is what arg makes.
	find   string
	column string // the seq, in conditions
	// arg makes the argument of find; a word that ends in * is a prefix.
	arg func(words []string) any
}

// SQLite asks its FTS5.
var SQLite = &Words{
	find:   `SELECT rowid AS seq FROM words WHERE words MATCH $1%s`,
	column: "rowid",
	arg: func(words []string) any {
		// Each word stands in quotes, so that AND, NEAR, ^ and what else the query language knows is only text.
		q := make([]string, len(words))
		for i, w := range words {
			if p, ok := strings.CutSuffix(w, "*"); ok {
				q[i] = `"` + p + `"*`
			} else {
				q[i] = `"` + w + `"`
			}
		}
		return strings.Join(q, " AND ")
	},
}

// Postgres asks its text search.
var Postgres = &Words{
	find:   `SELECT seq FROM words WHERE text @@ $1::tsquery%s`,
	column: "seq",
	arg: func(words []string) any {
		q := make([]string, len(words))
		for i, w := range words {
			p, prefix := strings.CutSuffix(w, "*")
			q[i] = "'" + strings.ReplaceAll(strings.ReplaceAll(p, `\`, `\\`), "'", "''") + "'"
			if prefix {
				q[i] += ":*"
			}
		}
		return strings.Join(q, " & ")
	},
}
