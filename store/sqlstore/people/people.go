// Package people is the SQL of what people have of each other: how they are found in the directory, and whom they
// keep in their lists. Package sqlstore gives it the database.
package people

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
	"github.com/parley-im/parley/store/words"
)

// Store implements store.People and store.Contacts.
type Store struct{ *table.DB }

var (
	_ store.People   = Store{}
	_ store.Contacts = Store{}
)

// PersonColumns are those of a store.Person in the table of users, in the order of PersonArgs.
const (
	PersonColumns     = "title, department, office, phone, mobile, email"
	PersonColumnCount = 6
)

// PersonArgs are the values of PersonColumns.
func PersonArgs(p *store.Person) []any {
	return []any{p.Title, p.Department, p.Office, p.Phone, p.Mobile, p.Email}
}

// PersonDest is where PersonColumns are scanned to.
func PersonDest(p *store.Person) []any {
	return []any{&p.Title, &p.Department, &p.Office, &p.Phone, &p.Mobile, &p.Email}
}

// maxWords is how many words of one account are kept.
const maxWords = 100

// wordsOf are the words by which an account is found: those of name, user part, title and department, and the address.
func wordsOf(u *store.User) []string {
	if u.Disabled {
		return nil
	}
	user, _, _ := strings.Cut(u.AOR, "@")
	var text []byte
	for _, s := range []string{u.Name, unescape(user), u.Title, u.Department} {
		text = words.Fold(text, s)
	}
	list := strings.Fields(string(text))
	list = append(list[:min(len(list), maxWords)], addressWord(u.AOR))
	slices.Sort(list)
	return slices.Compact(list)
}

func unescape(user string) string {
	if text, err := url.PathUnescape(user); err == nil {
		return text
	}
	return user
}

// addressWord is an address, or the beginning of one with "@" in it, as one word.
func addressWord(address string) string {
	user, domain, _ := strings.Cut(address, "@")
	if scheme, rest, ok := strings.Cut(user, ":"); ok && strings.EqualFold(scheme, "sip") {
		user = rest
	}
	folded := words.Fold(nil, unescape(user))
	return string(bytes.ReplaceAll(folded, []byte(" "), []byte("."))) + "@" + strings.ToLower(domain)
}

// terms are the beginnings of words that somebody who is looked for must have. None is the beginning of another.
func terms(text string) []string {
	var list []string
	for _, field := range strings.Fields(text) {
		if strings.Contains(field, "@") {
			list = append(list, addressWord(field))
		} else {
			list = append(list, strings.Fields(string(words.Fold(nil, field)))...)
		}
	}
	list = list[:min(len(list), store.MaxPeopleWords)]
	slices.Sort(list)
	kept := list[:0]
	for i, t := range list {
		if i+1 == len(list) || !strings.HasPrefix(list[i+1], t) { // sorted: whatever begins with t follows it
			kept = append(kept, t)
		}
	}
	return kept
}

// above is the first word behind all that begin with prefix: no word has this byte.
func above(prefix string) []byte { return append([]byte(prefix), 0xff) }

// FindPeople is store.People.FindPeople. The words are read in their order from the term that the fewest have, so that a page
// costs what is on it, and the other terms are asked for each account that comes up.
func (s Store) FindPeople(ctx context.Context, f store.PeopleFilter) (page store.PeoplePage, err error) {
	list := terms(f.Words)
	if len(list) == 0 {
		return page, nil
	}
	var word, aor string
	first := 0
	if f.After != "" {
		if word, aor, first, err = place(f.After, list); err != nil {
			return page, err
		}
	} else {
		if first, err = s.rarest(ctx, list); err != nil {
			return page, err
		}
		word = list[first] // all that begin so are above it
	}
	args := []any{[]byte(list[first]), above(list[first]), []byte(word), aor, f.Limit + 1}
	// The conditions are subqueries with one row, because those are asked for each account that comes up: an EXISTS may
	// become a join with everybody.
	where := `w.word >= $1 AND w.word < $2 AND (w.word, w.aor) > ($3, $4)`
	for i, t := range list {
		if i == first {
			continue
		}
		args = append(args, []byte(t), above(t))
		where += fmt.Sprintf(` AND (SELECT 1 FROM people_words o WHERE o.aor = w.aor AND o.word >= $%d AND o.word < $%d LIMIT 1) IS NOT NULL`,
			len(args)-1, len(args))
	}
	// Whoever has two words that fit comes up at the first of them.
	where += ` AND w.word = (SELECT b.word FROM people_words b WHERE b.aor = w.aor AND b.word >= $1 ORDER BY b.word LIMIT 1)`
	rows, err := s.Read.QueryContext(ctx, `SELECT f.word, u.aor, u.name, `+PersonColumns+`
		FROM (SELECT w.word, w.aor FROM people_words w WHERE `+where+` ORDER BY w.word, w.aor LIMIT $5) f
		JOIN users u ON u.aor = f.aor ORDER BY f.word, f.aor`, args...)
	type found struct {
		word []byte
		user store.User
	}
	people, err := table.Collect(rows, err, "people: looking for people", func(r table.Row) (x found, err error) {
		err = r.Scan(append([]any{&x.word, &x.user.AOR, &x.user.Name}, PersonDest(&x.user.Person)...)...)
		return x, err
	})
	if err != nil {
		return page, err
	}
	if len(people) > f.Limit {
		people = people[:f.Limit]
		last := people[f.Limit-1]
		page.Next = base64.RawURLEncoding.EncodeToString([]byte(string(last.word) + " " + last.user.AOR))
	}
	for i := range people {
		page.People = append(page.People, people[i].user)
	}
	return page, nil
}

// place is where a page begins, and which term led there.
func place(after string, terms []string) (word, aor string, first int, err error) {
	text, err := base64.RawURLEncoding.DecodeString(after)
	word, aor, ok := strings.Cut(string(text), " ")
	first = slices.IndexFunc(terms, func(t string) bool { return strings.HasPrefix(word, t) })
	if err != nil || !ok || first < 0 || !utf8.ValidString(aor) || strings.Contains(aor, "\x00") {
		return "", "", 0, errs.New(errs.Invalid, "people: this is not where a page of the same search ended")
	}
	return word, aor, first, nil
}

// rarest finds the term that leads to the fewest accounts; beyond so many it does not matter.
func (s Store) rarest(ctx context.Context, terms []string) (int, error) {
	const enough = 2000
	best, least := 0, enough+1
	for i, t := range terms {
		if len(terms) == 1 {
			break
		}
		var n int
		err := s.Read.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM people_words WHERE word >= $1 AND word < $2 ORDER BY word, aor LIMIT $3) x`,
			[]byte(t), above(t), enough).Scan(&n)
		if err != nil {
			return 0, errs.Wrap(errs.Unavailable, err, "people: looking for people")
		}
		if n < least {
			best, least = i, n
		}
	}
	return best, nil
}

// Index writes the words of accounts that are new.
func (s Store) Index(ctx context.Context, tx *sql.Tx, users []store.User) error {
	type row struct{ word, aor string }
	var rows []row
	for i := range users {
		for _, w := range wordsOf(&users[i]) {
			rows = append(rows, row{w, users[i].AOR})
		}
	}
	// Neighbours in the table are written together.
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(strings.Compare(a.word, b.word), strings.Compare(a.aor, b.aor)) })
	args := make([]any, 0, 2*len(rows))
	for _, r := range rows {
		args = append(args, []byte(r.word), r.aor)
	}
	return s.Insert(ctx, tx, `people_words (word, aor)`, 2, args, "")
}

// Reindex writes the words of an account that is not what it was.
func (s Store) Reindex(ctx context.Context, tx *sql.Tx, u store.User) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM people_words WHERE aor = $1`, u.AOR); err != nil {
		return err
	}
	return s.Index(ctx, tx, []store.User{u})
}

// The setting that says how the words in the table were made. Whoever changes wordsOf changes the version, and all words are
// made again at the next start.
const (
	setting = "people.words"
	version = "1"
)

// IndexAll makes the words of all accounts, if they are not there or were made in another way; always, if it must.
func (s Store) IndexAll(ctx context.Context, must bool) error {
	return s.Change(ctx, "making the words by which people are found", func(tx *sql.Tx) error {
		var have []byte
		err := tx.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, setting).Scan(&have)
		if err != nil && err != sql.ErrNoRows { //nolint:errorlint // Scan returns it bare
			return err
		}
		if string(have) == version && !must {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM people_words`); err != nil {
			return err
		}
		const most = 1000
		for after, n := "", most; n == most; {
			rows, err := tx.QueryContext(ctx, `SELECT aor, name, disabled, `+PersonColumns+` FROM users WHERE aor > $1 ORDER BY aor LIMIT $2`, after, most)
			list, err := table.Collect(rows, err, "people: reading users", func(r table.Row) (u store.User, err error) {
				var disabled int64
				err = r.Scan(append([]any{&u.AOR, &u.Name, &disabled}, PersonDest(&u.Person)...)...)
				u.Disabled = disabled != 0
				return u, err
			})
			if err != nil {
				return err
			}
			if err := s.Index(ctx, tx, list); err != nil {
				return err
			}
			if n = len(list); n > 0 {
				after = list[n-1].AOR
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			setting, []byte(version))
		return err
	})
}
