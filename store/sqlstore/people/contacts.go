package people

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// The kinds of what was removed, beside those of relations.
const (
	removedContact = "contact"
	removedGroup   = "list group"
)

// ContactList is store.Contacts.ContactList.
func (s Store) ContactList(ctx context.Context, owner string) (*store.ContactList, error) {
	c, err := s.changes(ctx, owner, 0)
	if err != nil {
		return nil, err
	}
	return &c.ContactList, nil
}

// ContactChanges is store.Contacts.ContactChanges.
func (s Store) ContactChanges(ctx context.Context, owner string, since int64) (*store.ContactChanges, error) {
	return s.changes(ctx, owner, since)
}

// changes reads what has a version above since, at one moment; everything for 0.
func (s Store) changes(ctx context.Context, owner string, since int64) (*store.ContactChanges, error) {
	tx, err := s.Read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.Snapshot})
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "people: reading contacts")
	}
	defer tx.Rollback()
	c := &store.ContactChanges{All: true}
	var known int64
	err = tx.QueryRowContext(ctx, `SELECT version, known FROM contact_lists WHERE owner = $1`, owner).Scan(&c.Version, &known)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, "people: reading contacts")
	}
	if since >= known && since <= c.Version && since > 0 {
		c.All = false
		if err := readRemovals(ctx, tx, owner, since, c); err != nil {
			return nil, err
		}
	} else {
		since = 0
	}
	if c.Contacts, err = read(ctx, tx, &contacts, "reading contacts", `place, id`, owner, since); err != nil {
		return nil, err
	}
	if c.Groups, err = read(ctx, tx, &groups, "reading groups of contacts", `place, id`, owner, since); err != nil {
		return nil, err
	}
	if c.Relations, err = read(ctx, tx, &relations, "reading relations", `kind, subject`, owner, since); err != nil {
		return nil, err
	}
	return c, nil
}

func readRemovals(ctx context.Context, q table.Querier, owner string, since int64, c *store.ContactChanges) error {
	list, err := read(ctx, q, &removals, "reading what was removed", `version`, owner, since)
	for _, r := range list {
		switch r.Kind {
		case removedContact, removedGroup:
			id, _ := strconv.ParseInt(r.Subject, 10, 64) // written by us
			if r.Kind == removedContact {
				c.RemovedContacts = append(c.RemovedContacts, id)
			} else {
				c.RemovedGroups = append(c.RemovedGroups, id)
			}
		default:
			c.RemovedRelations = append(c.RemovedRelations, store.RelationKey{Kind: r.Kind, Subject: r.Subject})
		}
	}
	return err
}

// ChangeContacts is store.Contacts.ChangeContacts.
func (s Store) ChangeContacts(ctx context.Context, owner string, base int64, c *store.ContactChange) (int64, error) {
	n := len(c.Put) + len(c.PutGroups) + len(c.PutRelations) + len(c.Remove) + len(c.RemoveGroups) + len(c.RemoveRelations)
	if n == 0 {
		return base, nil
	}
	w := &writing{owner: owner, db: s.DB}
	err := s.Change(ctx, "changing contacts", func(tx *sql.Tx) error {
		w.tx = tx
		if err := w.begin(ctx, base, int64(n)); err != nil {
			return err
		}
		if err := w.remove(ctx, c); err != nil {
			return err
		}
		return w.put(ctx, c)
	})
	if s.Duplicate(err) {
		return 0, errs.New(errs.Conflict, "people: an address would be in the list of %s twice", owner)
	}
	if err != nil {
		return 0, err
	}
	w.tell(c)
	return w.next, nil
}

// writing is one change of a list.
type writing struct {
	tx    *sql.Tx
	db    *table.DB
	owner string
	next  int64 // the last number that was taken
	taken []int64
}

func (w *writing) number() int64 {
	w.next++
	w.taken = append(w.taken, w.next)
	return w.next
}

// begin takes n numbers of the owner's sequence, if nobody has taken any since base.
func (w *writing) begin(ctx context.Context, base, n int64) error {
	err := table.Account(ctx, w.tx, "people", w.owner)
	if err != nil {
		return err
	}
	var r sql.Result
	if w.next = base; base == 0 {
		w.next = time.Now().UnixMilli()
		r, err = w.tx.ExecContext(ctx, `INSERT INTO contact_lists (owner, version, known) VALUES ($1, $2, $3) ON CONFLICT (owner) DO NOTHING`,
			w.owner, w.next+n, w.next)
	} else {
		r, err = w.tx.ExecContext(ctx, `UPDATE contact_lists SET version = $3 WHERE owner = $1 AND version = $2`, w.owner, base, base+n)
	}
	if err != nil {
		return err
	}
	if changed, err := r.RowsAffected(); err != nil || changed == 0 {
		return errors.Join(err, errs.New(errs.Conflict, "people: the list of %s is no longer at version %d", w.owner, base))
	}
	return nil
}

// remove removes, and notes what was there.
func (w *writing) remove(ctx context.Context, c *store.ContactChange) error {
	one := func(kind, subject, text string, args ...any) error {
		n := w.number()
		r, err := w.tx.ExecContext(ctx, text, args...)
		if err != nil {
			return err
		}
		if there, err := r.RowsAffected(); err != nil || there == 0 {
			return err
		}
		return write(ctx, w, &removals, "", Removal{w.owner, n, kind, subject})
	}
	for _, id := range c.Remove {
		if err := one(removedContact, strconv.FormatInt(id, 10), `DELETE FROM contacts WHERE owner = $1 AND id = $2`, w.owner, id); err != nil {
			return err
		}
	}
	for _, id := range c.RemoveGroups {
		if err := one(removedGroup, strconv.FormatInt(id, 10), `DELETE FROM contact_groups WHERE owner = $1 AND id = $2`, w.owner, id); err != nil {
			return err
		}
	}
	for _, k := range c.RemoveRelations {
		if err := one(k.Kind, k.Subject, `DELETE FROM relations WHERE owner = $1 AND kind = $2 AND subject = $3`, w.owner, k.Kind, k.Subject); err != nil {
			return err
		}
	}
	if len(c.Remove)+len(c.RemoveGroups)+len(c.RemoveRelations) == 0 {
		return nil
	}
	// What was removed long ago is forgotten; whoever asks for changes from before then gets everything.
	var old int64
	err := w.tx.QueryRowContext(ctx, `SELECT version FROM contact_removals WHERE owner = $1 ORDER BY version DESC LIMIT 1 OFFSET $2`,
		w.owner, store.KeptRemovals).Scan(&old)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := w.tx.ExecContext(ctx, `DELETE FROM contact_removals WHERE owner = $1 AND version <= $2`, w.owner, old); err != nil {
		return err
	}
	_, err = w.tx.ExecContext(ctx, `UPDATE contact_lists SET known = $2 WHERE owner = $1`, w.owner, old)
	return err
}

// put writes what is new or changed.
func (w *writing) put(ctx context.Context, c *store.ContactChange) error {
	for _, p := range c.Put {
		if p.Version = w.number(); p.ID == 0 {
			p.ID = p.Version
		}
		if err := write(ctx, w, &contacts, contacts.Replace(), p); err != nil {
			return err
		}
	}
	for _, g := range c.PutGroups {
		if g.Version = w.number(); g.ID == 0 {
			g.ID = g.Version
		}
		if err := write(ctx, w, &groups, groups.Replace(), g); err != nil {
			return err
		}
	}
	for _, r := range c.PutRelations {
		r.Version = w.number()
		if err := write(ctx, w, &relations, relations.Replace(), r); err != nil {
			return err
		}
		// It is there again.
		if _, err := w.tx.ExecContext(ctx, `DELETE FROM contact_removals WHERE owner = $1 AND kind = $2 AND subject = $3`, w.owner, r.Kind, r.Subject); err != nil {
			return err
		}
	}
	return nil
}

func write[T any](ctx context.Context, w *writing, t *table.Table[owned[T]], tail string, row T) error {
	return w.db.Insert(ctx, w.tx, t.Into(), t.Count(), t.Args(&owned[T]{w.owner, row}), tail)
}

// tell sets the numbers that were taken, in the order in which they were.
func (w *writing) tell(c *store.ContactChange) {
	taken := w.taken[len(c.Remove)+len(c.RemoveGroups)+len(c.RemoveRelations):]
	take := func(id *int64) (version int64) {
		version, taken = taken[0], taken[1:]
		if id != nil && *id == 0 {
			*id = version
		}
		return version
	}
	for i := range c.Put {
		c.Put[i].Version = take(&c.Put[i].ID)
	}
	for i := range c.PutGroups {
		c.PutGroups[i].Version = take(&c.PutGroups[i].ID)
	}
	for i := range c.PutRelations {
		c.PutRelations[i].Version = take(nil)
	}
}

// Forget removes all that an account has of its own; others keep it in their lists.
func (s Store) Forget(ctx context.Context, tx *sql.Tx, owner string) error {
	for i := range Tables {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+Tables[i].Name+` WHERE owner = $1`, owner); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM people_words WHERE aor = $1`, owner)
	return err
}

// ContactOwners is store.Contacts.ContactOwners.
func (s Store) ContactOwners(ctx context.Context, address, after string, limit int) ([]string, error) {
	rows, err := s.Read.QueryContext(ctx, `SELECT owner FROM contacts WHERE address = $1 AND owner > $2 ORDER BY owner LIMIT $3`, address, after, limit)
	return table.Collect(rows, err, "people: reading who has a contact", table.Text)
}

// ContactVersions is store.Contacts.ContactVersions.
func (s Store) ContactVersions(ctx context.Context, after string, limit int) ([]store.ContactVersion, error) {
	rows, err := s.Read.QueryContext(ctx, `SELECT owner, version FROM contact_lists WHERE owner > $1 ORDER BY owner LIMIT $2`, after, limit)
	return table.Collect(rows, err, "people: reading the versions of lists", func(r table.Row) (v store.ContactVersion, err error) {
		err = r.Scan(&v.Owner, &v.Version)
		return v, err
	})
}

// formatGroups writes ids with a space between.
func formatGroups(ids []int64) string {
	var b []byte
	for i, id := range ids {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(b)
}

func parseGroups(text string) ([]int64, error) {
	if text == "" {
		return nil, nil
	}
	ids := make([]int64, 0, strings.Count(text, " ")+1)
	for field := range strings.FieldsSeq(text) {
		id, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
