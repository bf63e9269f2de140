package devices

import (
	"context"
	"database/sql"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// Bindings is their table.
var Bindings = table.Table[store.Binding]{
	Shape: table.Shape{Name: "bindings", Key: "aor, key", Columns: "aor, key, contact, params, instance, device, reg_id, call_id, cseq, user_agent, path, q, " +
		"created, updated, expires, transport, listener, local, remote, outbound, password, gruu"},
	Args: func(b *store.Binding) []any {
		return []any{b.AOR, b.Key, b.Contact, b.Params, b.Instance, b.Device, int64(b.RegID), b.CallID, int64(b.CSeq),
			b.UserAgent, b.Path, int64(b.Q), table.Micros(b.Created), table.Micros(b.Updated), table.Micros(b.Expires), b.Transport, b.Listener,
			b.Local, b.Remote, table.Number(b.Outbound), b.Password, b.GRUU}
	},
	Scan: func(row table.Row) (b store.Binding, err error) {
		var created, updated, expires, outbound int64
		err = row.Scan(&b.AOR, &b.Key, &b.Contact, &b.Params, &b.Instance, &b.Device, &b.RegID, &b.CallID, &b.CSeq, &b.UserAgent,
			&b.Path, &b.Q, &created, &updated, &expires, &b.Transport, &b.Listener, &b.Local, &b.Remote, &outbound, &b.Password,
			&b.GRUU)
		b.Created, b.Updated, b.Expires = table.FromMicros(created), table.FromMicros(updated), table.FromMicros(expires)
		b.Outbound = outbound != 0
		return b, err
	},
}

// LoadBindings is store.Bindings.LoadBindings.
func (s Store) LoadBindings(ctx context.Context) ([]store.Binding, error) {
	return Bindings.List(ctx, s.Read, "devices: reading bindings", `ORDER BY aor, key`)
}

// SaveBindings is store.Bindings.SaveBindings.
func (s Store) SaveBindings(ctx context.Context, put []store.Binding, del []store.BindingKey) error {
	args := table.Latest(&Bindings, put, func(b *store.Binding) store.BindingKey { return store.BindingKey{AOR: b.AOR, Key: b.Key} },
		func(_, _ *store.Binding) bool { return true })
	return s.Change(ctx, "saving bindings", func(tx *sql.Tx) error {
		for _, k := range del {
			if _, err := tx.ExecContext(ctx, `DELETE FROM bindings WHERE aor = $1 AND key = $2`, k.AOR, k.Key); err != nil {
				return err
			}
		}
		return s.Insert(ctx, tx, Bindings.Into(), Bindings.Count(), args, Bindings.Replace())
	})
}
