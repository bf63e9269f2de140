package sqlstore

import (
	"fmt"
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/meta"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// columns of the log in the order in which rows are written and read.
const (
	logColumns     = "seq, id, at, kind, sender, recipient, device, ref, meta, content_type, hash, body"
	logColumnCount = 12
)

// scanRecord reads logColumns.
func scanRecord(row table.Row, r *store.Record) error {
	var at int64
	var rid, ref, hash, body []byte
	var more *string
	if err := row.Scan(&r.Seq, &rid, &at, &r.Kind, &r.From, &r.To, &r.Device, &ref, &more, &r.ContentType, &hash, &body); err != nil {
		return err
	}
	copy(r.ID[:], rid)
	copy(r.Ref[:], ref)
	copy(r.Hash[:], hash)
	r.At = time.UnixMicro(at).UTC()
	if len(body) > 0 { // PostgreSQL tells no bytes from none, SQLite does not
		r.Body = body
	}
	return scanMeta(more, r)
}

func scanMeta(text *string, r *store.Record) error {
	r.Meta = nil
	if text == nil {
		return nil
	}
	m, err := meta.Parse(*text)
	if err != nil {
		return fmt.Errorf("sqlstore: meta of record %d: %w", r.Seq, err)
	}
	r.Meta = m
	return nil
}
