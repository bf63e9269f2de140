package devices

import (
	"context"
	"database/sql"

	"github.com/parley-im/parley/store"
)

// The table of bindings, as BindingArgs writes it and ScanBinding reads it.
const (
	BindingColumns = "aor, key, contact, params, instance, device, reg_id, call_id, cseq, user_agent, path, q, " +
		"created, updated, expires, transport, listener, local, remote, outbound, password, gruu"
	BindingColumnCount = 22
)

const bindingReplace = ` ON CONFLICT (aor, key) DO UPDATE SET contact = excluded.contact, params = excluded.params,
		instance = excluded.instance, device = excluded.device, reg_id = excluded.reg_id, call_id = excluded.call_id,
		cseq = excluded.cseq, user_agent = excluded.user_agent, path = excluded.path, q = excluded.q,
		created = excluded.created, updated = excluded.updated, expires = excluded.expires, transport = excluded.transport,
		listener = excluded.listener, local = excluded.local, remote = excluded.remote, outbound = excluded.outbound,
		password = excluded.password, gruu = excluded.gruu`

// LoadBindings is store.Bindings.LoadBindings.
func (s Store) LoadBindings(ctx context.Context) ([]store.Binding, error) {
	rows, err := s.Read.QueryContext(ctx, `SELECT `+BindingColumns+` FROM bindings ORDER BY aor, key`)
	return collect(rows, err, "reading bindings", ScanBinding)
}

// ScanBinding reads BindingColumns.
func ScanBinding(row Row) (b store.Binding, err error) {
	var created, updated, expires, outbound int64
	err = row.Scan(&b.AOR, &b.Key, &b.Contact, &b.Params, &b.Instance, &b.Device, &b.RegID, &b.CallID, &b.CSeq, &b.UserAgent,
		&b.Path, &b.Q, &created, &updated, &expires, &b.Transport, &b.Listener, &b.Local, &b.Remote, &outbound, &b.Password,
		&b.GRUU)
	b.Created, b.Updated, b.Expires = fromMicros(created), fromMicros(updated), fromMicros(expires)
	b.Outbound = outbound != 0
	return b, err
}

// BindingArgs are the values of BindingColumns.
func BindingArgs(b *store.Binding) []any {
	return []any{b.AOR, b.Key, b.Contact, b.Params, b.Instance, b.Device, int64(b.RegID), b.CallID, int64(b.CSeq),
		b.UserAgent, b.Path, int64(b.Q), micros(b.Created), micros(b.Updated), micros(b.Expires), b.Transport, b.Listener,
		b.Local, b.Remote, number(b.Outbound), b.Password, b.GRUU}
}

// SaveBindings is store.Bindings.SaveBindings.
func (s Store) SaveBindings(ctx context.Context, put []store.Binding, del []store.BindingKey) error {
	// One statement must not name a key twice, so of several the last is kept.
	last := make(map[store.BindingKey]int, len(put))
	for i := range put {
		last[store.BindingKey{AOR: put[i].AOR, Key: put[i].Key}] = i
	}
	args := make([]any, 0, len(put)*BindingColumnCount)
	for i := range put {
		b := &put[i]
		if last[store.BindingKey{AOR: b.AOR, Key: b.Key}] != i {
			continue
		}
		args = append(args, BindingArgs(b)...)
	}
	s.Scrub(args)
	return s.Change(ctx, "saving bindings", func(tx *sql.Tx) error {
		for _, k := range del {
			if _, err := tx.ExecContext(ctx, `DELETE FROM bindings WHERE aor = $1 AND key = $2`, k.AOR, k.Key); err != nil {
				return err
			}
		}
		return s.insert(ctx, tx, `INSERT INTO bindings (`+BindingColumns+`)`, BindingColumnCount, args, bindingReplace)
	})
}
