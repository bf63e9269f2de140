package presence

import (
	"time"

	"github.com/parley-im/parley/store"
)

// Row is *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// Line is a row of one of the tables in a backup; one field is set.
type Line struct {
	Manual       *store.ManualState  `json:"manual,omitempty"`
	Publication  *store.Publication  `json:"publication,omitempty"`
	Subscription *store.Subscription `json:"subscription,omitempty"`
}

// Table is a table as it is written and read. The first column is its key.
type Table struct {
	Name, Key, Columns string
	Count              int    // of columns
	Expires            string // the column with the time at which a row is of no more use; 0 is never
	Scan               func(Row) (Line, error)
}

// Tables are the tables of presence; each has a column "aor" with the account to which a row belongs.
var Tables = [...]Table{
	{"manual_states", "aor", "aor, state, note, until, set_at", 5, "until", func(r Row) (Line, error) {
		v, err := scanManual(r)
		return Line{Manual: v}, err
	}},
	{"publications", "etag", "etag, aor, device, alone, content_type, body, updated, expires", 8, "expires", func(r Row) (Line, error) {
		v, err := scanPublication(r)
		return Line{Publication: v}, err
	}},
	{"subscriptions", "tag", "tag, event, aor, expires, data", 5, "expires", func(r Row) (Line, error) {
		v, err := scanSubscription(r)
		return Line{Subscription: v}, err
	}},
}

// The places in Tables.
const (
	manuals = iota
	publications
	subscriptions
)

// Values are the place in Tables of a line and the values of its row; none for a line that says nothing.
func (l *Line) Values() (table int, args []any) {
	switch {
	case l.Manual != nil:
		return manuals, manualArgs(l.Manual)
	case l.Publication != nil:
		return publications, publicationArgs(l.Publication)
	case l.Subscription != nil:
		return subscriptions, subscriptionArgs(l.Subscription)
	}
	return 0, nil
}

// micros is a time in the database: 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// number is a flag in the database.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// filled is b, or no bytes: a column that must have a value.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func manualArgs(m *store.ManualState) []any {
	return []any{m.AOR, m.State, m.Note, micros(m.Until), micros(m.Set)}
}

func scanManual(r Row) (*store.ManualState, error) {
	var m store.ManualState
	var until, set int64
	err := r.Scan(&m.AOR, &m.State, &m.Note, &until, &set)
	m.Until, m.Set = fromMicros(until), fromMicros(set)
	return &m, err
}

func publicationArgs(p *store.Publication) []any {
	return []any{p.ETag, p.AOR, p.Device, number(p.Alone), p.ContentType, filled(p.Body), micros(p.Updated), micros(p.Expires)}
}

func scanPublication(r Row) (*store.Publication, error) {
	var p store.Publication
	var alone, updated, expires int64
	err := r.Scan(&p.ETag, &p.AOR, &p.Device, &alone, &p.ContentType, &p.Body, &updated, &expires)
	p.Alone, p.Updated, p.Expires = alone != 0, fromMicros(updated), fromMicros(expires)
	return &p, err
}

func subscriptionArgs(s *store.Subscription) []any {
	return []any{s.Tag, s.Event, s.Watcher, micros(s.Expires), filled(s.Data)}
}

func scanSubscription(r Row) (*store.Subscription, error) {
	var s store.Subscription
	var expires int64
	err := r.Scan(&s.Tag, &s.Event, &s.Watcher, &expires, &s.Data)
	s.Expires = fromMicros(expires)
	return &s, err
}
