package presence

import (
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Line is a row of one of the tables in a backup; one field is set.
type Line struct {
	Manual       *store.ManualState  `json:"manual,omitempty"`
	Publication  *store.Publication  `json:"publication,omitempty"`
	Subscription *store.Subscription `json:"subscription,omitempty"`
}

// The tables. Each has a column "aor" with the account to which a row belongs.
var (
	manuals = table.Table[store.ManualState]{
		Shape: table.Shape{Name: "manual_states", Columns: "aor, state, note, until, set_at", Key: "aor"},
		Args: func(m *store.ManualState) []any {
			return []any{m.AOR, m.State, m.Note, table.Micros(m.Until), table.Micros(m.Set)}
		},
		Scan: func(r table.Row) (m store.ManualState, err error) {
			var until, set int64
			err = r.Scan(&m.AOR, &m.State, &m.Note, &until, &set)
			m.Until, m.Set = table.FromMicros(until), table.FromMicros(set)
			return m, err
		},
	}
	publications = table.Table[store.Publication]{
		Shape: table.Shape{Name: "publications", Columns: "etag, aor, device, alone, content_type, body, updated, expires", Key: "etag"},
		Args: func(p *store.Publication) []any {
			return []any{p.ETag, p.AOR, p.Device, table.Number(p.Alone), p.ContentType, table.Filled(p.Body), table.Micros(p.Updated), table.Micros(p.Expires)}
		},
		Scan: func(r table.Row) (p store.Publication, err error) {
			var alone, updated, expires int64
			err = r.Scan(&p.ETag, &p.AOR, &p.Device, &alone, &p.ContentType, &p.Body, &updated, &expires)
			p.Alone, p.Updated, p.Expires = alone != 0, table.FromMicros(updated), table.FromMicros(expires)
			return p, err
		},
	}
	subscriptions = table.Table[store.Subscription]{
		Shape: table.Shape{Name: "subscriptions", Columns: "tag, event, aor, expires, data", Key: "tag"},
		Args: func(s *store.Subscription) []any {
			return []any{s.Tag, s.Event, s.Watcher, table.Micros(s.Expires), table.Filled(s.Data)}
		},
		Scan: func(r table.Row) (s store.Subscription, err error) {
			var expires int64
			err = r.Scan(&s.Tag, &s.Event, &s.Watcher, &expires, &s.Data)
			s.Expires = table.FromMicros(expires)
			return s, err
		},
	}
)

// Tables are the tables of presence as backups have them.
var Tables = [...]table.Table[Line]{
	table.Of(&manuals, func(l *Line) **store.ManualState { return &l.Manual }),
	table.Of(&publications, func(l *Line) **store.Publication { return &l.Publication }),
	table.Of(&subscriptions, func(l *Line) **store.Subscription { return &l.Subscription }),
}
