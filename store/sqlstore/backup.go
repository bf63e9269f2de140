package sqlstore

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/accounts"
	"github.com/parley-im/parley/store/sqlstore/devices"
	"github.com/parley-im/parley/store/sqlstore/drafts"
	"github.com/parley-im/parley/store/sqlstore/files"
	"github.com/parley-im/parley/store/sqlstore/meta"
	"github.com/parley-im/parley/store/sqlstore/people"
	"github.com/parley-im/parley/store/sqlstore/presence"
	"github.com/parley-im/parley/store/sqlstore/sessions"
	"github.com/parley-im/parley/store/sqlstore/table"
)

// BackupFile is the name of the one file that Backup writes: gzip'd lines of JSON, the same for both databases, so that it
// also moves a server from one to the other. The first line is a header, the last one counts the lines between.
const BackupFile = "store.jsonl.gz"

const backupVersion = 1

// line is one line of a backup; one field is set.
type line struct {
	Header   *header               `json:"backup,omitempty"`
	User     *store.User           `json:"user,omitempty"`
	Device   *store.DevicePassword `json:"device_password,omitempty"`
	Binding  *store.Binding        `json:"binding,omitempty"`
	Cursor   *store.Cursor         `json:"cursor,omitempty"`
	Setting  *accounts.Setting     `json:"setting,omitempty"`
	Person   *store.PersonSetting  `json:"person_setting,omitempty"`
	Contact  *people.Line          `json:"contact,omitempty"`
	Presence *presence.Line        `json:"presence,omitempty"`
	Draft    *store.Draft          `json:"draft,omitempty"`
	File     *files.Line           `json:"file,omitempty"`
	Record   *backupRecord         `json:"record,omitempty"`
	Voided   *voided               `json:"voided,omitempty"`
	End      *end                  `json:"end,omitempty"`
}

type header struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
}

// backupRecord is a record in words that other programs can read.
type backupRecord struct {
	Seq         int64             `json:"seq"`
	ID          id.ID             `json:"id"`
	At          time.Time         `json:"at"`
	Kind        string            `json:"kind"`
	From        string            `json:"from,omitempty"`
	To          string            `json:"to,omitempty"`
	Device      string            `json:"device,omitempty"`
	Ref         id.ID             `json:"ref,omitzero"`
	ContentType string            `json:"content_type,omitempty"`
	Body        []byte            `json:"body,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	Hash        []byte            `json:"hash"`
}

func toBackup(r *store.Record) *backupRecord {
	return &backupRecord{r.Seq, r.ID, r.At, r.Kind, r.From, r.To, r.Device, r.Ref, r.ContentType, r.Body, r.Meta, r.Hash[:]}
}

// record is the way back; it says whether the hash is right.
func (b *backupRecord) record() (*store.Record, bool) {
	r := &store.Record{Seq: b.Seq, ID: b.ID, At: b.At, Kind: b.Kind, From: b.From, To: b.To, Device: b.Device, Ref: b.Ref,
		ContentType: b.ContentType, Body: b.Body, Meta: b.Meta}
	r.Hash = r.Sum()
	return r, bytes.Equal(r.Hash[:], b.Hash)
}

type voided struct {
	Seq  int64 `json:"seq"`
	Void int64 `json:"void"` // seq of the void record
}

type end struct {
	Head  int64 `json:"head"`  // seq of the last record
	Lines int64 `json:"lines"` // between header and end
}

// Backup writes the whole store into the folder, which must exist and hold no backup yet, while the store is in use. What
// it writes is consistent: everything beside the log at one moment, and the log up to a moment after that, so that no cursor
// is ahead of the log. The index is not part of it, nor are keys and configuration, which are the caller's.
func (s *Store) Backup(ctx context.Context, dir string) (err error) {
	name := filepath.Join(dir, BackupFile)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("sqlstore: backup: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(name)
		}
	}()
	zip, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(zip, 1<<16)
	w := &backupWriter{enc: json.NewEncoder(buffered)}
	w.enc.SetEscapeHTML(false)
	if err := w.enc.Encode(line{Header: &header{backupVersion, time.Now().UTC().Truncate(time.Second)}}); err != nil {
		return fmt.Errorf("sqlstore: backup: %w", err)
	}
	if err := s.backupState(ctx, w); err != nil {
		return err
	}
	head, err := s.backupLog(ctx, w)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return w.enc.Encode(line{End: &end{head, w.lines}}) },
		buffered.Flush, zip.Close, f.Sync, f.Close,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("sqlstore: backup: %w", err)
		}
	}
	return nil
}

type backupWriter struct {
	enc   *json.Encoder
	lines int64
}

func (w *backupWriter) write(l line) error {
	w.lines++
	if err := w.enc.Encode(l); err != nil {
		return fmt.Errorf("sqlstore: backup: %w", err)
	}
	return nil
}

// stateTables are the tables beside the log, in the order of a backup.
func stateTables() []table.Table[line] {
	list := []table.Table[line]{
		table.Of(&accounts.Users, func(l *line) **store.User { return &l.User }),
		table.Of(&accounts.Passwords, func(l *line) **store.DevicePassword { return &l.Device }),
		table.Of(&devices.Bindings, func(l *line) **store.Binding { return &l.Binding }),
		table.Of(&devices.Cursors, func(l *line) **store.Cursor { return &l.Cursor }),
		table.Of(&accounts.Settings, func(l *line) **accounts.Setting { return &l.Setting }),
		table.Of(&sessions.Settings, func(l *line) **store.PersonSetting { return &l.Person }),
		table.Of(&files.Lines, func(l *line) **files.Line { return &l.File }),
		table.Of(&drafts.Drafts, func(l *line) **store.Draft { return &l.Draft }),
	}
	for i := range people.Tables {
		list = append(list, table.Of(&people.Tables[i], func(l *line) **people.Line { return &l.Contact }))
	}
	for i := range presence.Tables {
		list = append(list, table.Of(&presence.Tables[i], func(l *line) **presence.Line { return &l.Presence }))
	}
	return list
}

// backupState writes everything beside the log, read in one transaction.
func (s *Store) backupState(ctx context.Context, w *backupWriter) error {
	tx, err := s.state.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.state.d.snapshot})
	if err != nil {
		return unavailable(err, "sqlstore: backup")
	}
	defer tx.Rollback()
	for _, t := range stateTables() {
		rows, err := tx.QueryContext(ctx, t.Select()+`ORDER BY `+t.Key)
		if err := table.Each(rows, err, "sqlstore: backup", t.Scan, w.write); err != nil {
			return err
		}
	}
	return nil
}

// read is a record as it was found.
type read struct {
	store.Record
	sound bool
}

// backupLog writes all records up to the head, in pages: rows of the log never change. Void records, and what they void,
// are written too, because they are part of what is proved later.
func (s *Store) backupLog(ctx context.Context, w *backupWriter) (head int64, err error) {
	head = s.log.Head()
	const most = 500
	for after := int64(0); after < head; {
		rows, err := s.log.db.QueryContext(ctx, `SELECT `+logColumns+` FROM log WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`, after, head, most)
		n := 0
		err = table.Each(rows, err, "sqlstore: backup", func(r table.Row) (found read, err error) {
			if err = scanRecord(r, &found.Record); err != nil && (found.Seq == 0 || ctx.Err() != nil) {
				return found, err
			}
			found.sound = s.log.sound(&found.Record, err)
			return found, nil
		},
			func(r read) error {
				n++
				if after = r.Seq; !r.sound { // Restore takes none such
					return nil
				}
				return w.write(line{Record: toBackup(&r.Record)})
			})
		if err != nil {
			return 0, err
		}
		if n < most {
			break
		}
	}
	rows, err := s.log.db.QueryContext(ctx, `SELECT seq, void FROM voided WHERE void <= $1 ORDER BY seq`, head)
	return head, table.Each(rows, err, "sqlstore: backup", func(r table.Row) (v voided, err error) { err = r.Scan(&v.Seq, &v.Void); return v, err },
		func(v voided) error { return w.write(line{Voided: &v}) })
}

// Restore fills an empty store from the folder that Backup wrote. Every record's hash is checked. It opens the store of o
// and closes it again; when it fails half way the data folder (or schema) holds a part and is to be thrown away. Errors:
// kind Conflict when the store is not empty, NotFound when there is no backup, Invalid when it is damaged.
func Restore(ctx context.Context, o Options, dir string) (err error) {
	f, err := os.Open(filepath.Join(dir, BackupFile))
	if errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.NotFound, "sqlstore: %s holds no backup (%s)", dir, BackupFile)
	}
	if err != nil {
		return fmt.Errorf("sqlstore: restore: %w", err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return errs.Wrap(errs.Invalid, err, "sqlstore: the backup is damaged")
	}
	s, err := Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if n, err := s.accounts().CountUsers(ctx); err != nil || n > 0 || s.log.Head() > 0 {
		return errors.Join(err, errs.New(errs.Conflict, "sqlstore: restore: the store in %s is not empty; use an empty folder (and with PostgreSQL an empty schema)", o.Dir))
	}
	r, err := newRestorer(s)
	if err != nil {
		return err
	}
	return errors.Join(r.run(ctx, zip), r.close())
}

// restorer writes lines into the tables in batches.
type restorer struct {
	s        *Store
	log      *sql.DB // writes the log; nobody else does now
	tables   []table.Table[line]
	batches  []pending // of tables, then of the log and of what is void in it
	lines    int64
	finished bool
}

// pending are rows of one table that are not written yet.
type pending struct {
	into    string
	columns int
	tail    string
	db      *sql.DB
	args    []any
}

func newRestorer(s *Store) (*restorer, error) {
	r := &restorer{s: s, log: s.state.write}
	if s.o.URL == "" {
		path, err := filepath.Abs(filepath.Join(s.o.Dir, "log.db"))
		if err != nil {
			return nil, err
		}
		r.log = sqlitePool(path, 1, s.o.vfs, "synchronous(FULL)")
	}
	r.tables = stateTables()
	for i := range r.tables {
		t := &r.tables[i]
		p := pending{into: t.Into(), columns: t.Count(), db: s.state.write}
		if t.Name == accounts.Settings.Name {
			p.tail = t.Replace() // some were written when the store was opened
		}
		r.batches = append(r.batches, p)
	}
	r.batches = append(r.batches, pending{into: `log (` + logColumns + `)`, columns: logColumnCount, db: r.log},
		pending{into: `voided (seq, void)`, columns: 2, db: r.log})
	return r, nil
}

func (r *restorer) close() error {
	if r.log != r.s.state.write {
		return r.log.Close()
	}
	return nil
}

func (r *restorer) run(ctx context.Context, in io.Reader) error {
	dec := json.NewDecoder(bufio.NewReaderSize(in, 1<<16))
	for first := true; ; first = false {
		var l line
		if err := dec.Decode(&l); err != nil {
			if r.finished && errors.Is(err, io.EOF) {
				return nil
			}
			return errs.Wrap(errs.Invalid, err, fmt.Sprintf("sqlstore: the backup is damaged or cut off after line %d", r.lines+1))
		}
		if first && (l.Header == nil || l.Header.Version != backupVersion) {
			return errs.New(errs.Invalid, "sqlstore: this is no backup, or one of a newer version")
		}
		if first {
			continue
		}
		if r.finished {
			return errs.New(errs.Invalid, "sqlstore: the backup goes on after its end")
		}
		if l.End != nil {
			if l.End.Lines != r.lines {
				return errs.New(errs.Invalid, "sqlstore: the backup has %d lines and should have %d", r.lines, l.End.Lines)
			}
			if err := r.finish(ctx, l.End.Head); err != nil {
				return err
			}
			r.finished = true
			continue
		}
		r.lines++
		if err := r.take(ctx, &l); err != nil {
			return err
		}
	}
}

// take puts a line into its table's batch.
func (r *restorer) take(ctx context.Context, l *line) error {
	log := len(r.tables)
	if l.Record != nil {
		rec, ok := l.Record.record()
		if !ok {
			return errs.New(errs.Invalid, "sqlstore: the backup is damaged: record %d does not have its hash", l.Record.Seq)
		}
		return r.add(ctx, log, recordArgs(rec))
	}
	if l.Voided != nil {
		return r.add(ctx, log+1, []any{l.Voided.Seq, l.Voided.Void})
	}
	for i := range r.tables {
		if args := r.tables[i].Args(l); args != nil {
			return r.add(ctx, i, args)
		}
	}
	return errs.New(errs.Invalid, "sqlstore: line %d of the backup says nothing, or is of an unknown kind", r.lines+1)
}

func (r *restorer) add(ctx context.Context, batch int, args []any) error {
	b := &r.batches[batch]
	b.args = append(b.args, args...)
	if len(b.args) < 1000*b.columns {
		return nil
	}
	return r.flush(ctx, b)
}

func (r *restorer) flush(ctx context.Context, b *pending) error {
	if len(b.args) == 0 {
		return nil
	}
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err, "sqlstore: restore")
	}
	defer tx.Rollback()
	if err := r.s.state.tables().Insert(ctx, tx, b.into, b.columns, b.args, b.tail); err != nil {
		return fmt.Errorf("sqlstore: restore: %w", err)
	}
	b.args = b.args[:0]
	return unavailable(tx.Commit(), "sqlstore: restore")
}

func (r *restorer) finish(ctx context.Context, head int64) error {
	for i := range r.batches {
		if err := r.flush(ctx, &r.batches[i]); err != nil {
			return err
		}
	}
	if err := (people.Store{DB: r.s.state.tables()}).IndexAll(ctx, true); err != nil {
		return err
	}
	if _, err := r.log.ExecContext(ctx, `UPDATE writer SET value = $1 WHERE name = 'head'`, head); err != nil {
		return unavailable(err, "sqlstore: restore")
	}
	return nil
}

// recordArgs are the columns of a record.
func recordArgs(r *store.Record) []any {
	var ref []byte
	var more any
	if !r.Ref.IsZero() {
		ref = r.Ref[:]
	}
	if len(r.Meta) > 0 {
		more = string(meta.Append(nil, r.Meta))
	}
	return []any{r.Seq, r.ID[:], r.At.UnixMicro(), r.Kind, r.From, r.To, r.Device, ref, more, r.ContentType, r.Hash[:], table.Filled(r.Body)}
}
