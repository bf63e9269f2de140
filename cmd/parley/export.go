package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

// What is in the folder of an export.
const (
	exportQuery   = "query.json"         // what was asked for
	exportRecords = "records.jsonl"      // one record a line, oldest first
	exportPart    = "records.jsonl.part" // until it is complete
	exportMissing = "missing.txt"        // files that the server does not keep any more: hash and record
	exportSums    = "SHA256SUMS"         // of all the others, as sha256sum -c reads it; made last
	exportFiles   = "files"              // what was in files, each under its SHA-256
)

// everyKind is what an export holds unless it is told.
var everyKind = []string{"message", "edit", "retract", "reaction", "delivery", "receipt", "call.start", "call.text", "call.end", "admin", "search", "session"}

type archiveExportCmd struct {
	Folder string   `arg:"" placeholder:"DIR" help:"A new folder; or one of an export that was interrupted, which goes on with the same options."`
	Person string   `placeholder:"USER@DOMAIN" help:"Person who sent or received."`
	With   string   `placeholder:"USER@DOMAIN" help:"With --person: only what went between the two."`
	Since  string   `placeholder:"TIME" help:"2026-01-31, 2026-01-31T14:00, or how long ago: 90m, 12h, 7d."`
	Until  string   `placeholder:"TIME" help:"As --since; without it, until now."`
	Kind   []string `help:"Only these kinds, as of archive search; without it all of them."`
}

func (c archiveExportCmd) Run(a *app) error {
	req := &v1.SearchRequest{Person: c.Person, With: c.With, Kinds: c.Kind, OldestFirst: true, Limit: page}
	if len(req.Kinds) == 0 {
		req.Kinds = everyKind
	}
	var err error
	if req.Since, err = parseTime(c.Since); err != nil {
		return err
	}
	if req.Until, err = parseTime(c.Until); err != nil {
		return err
	}
	if req.Until == nil {
		req.Until = timestamppb.New(time.Now())
	}
	return a.administer(func(p *parley.Client) error {
		x := &export{app: a, client: p, folder: c.Folder, req: req, relative: c.Since + " " + c.Until}
		if err := x.open(); err != nil {
			return err
		}
		err := x.records()
		if closed := x.part.Close(); err == nil {
			err = closed
		}
		if err == nil {
			err = x.finish()
		}
		if err == nil {
			fmt.Fprintf(os.Stderr, "%d %s and %d %s in %s; sha256sum -c %s checks them there\n", x.count, plural(x.count, "record", "records"),
				x.files, plural(x.files, "file", "files"), c.Folder, exportSums)
		}
		if err == nil && x.missing > 0 {
			fmt.Fprintf(os.Stderr, "%d %s not kept any more, see %s\n", x.missing, plural(x.missing, "file is", "files are"), exportMissing)
		}
		return err
	})
}

// export is one that is under way. Files are in the folder before the record that names them, so that whoever goes on need not look.
type export struct {
	app      *app
	client   *parley.Client
	folder   string
	req      *v1.SearchRequest
	relative string // the times as they were typed
	part     *os.File
	count    int
	files    int
	missing  int
}

// asked is what exportQuery holds.
type asked struct {
	Times   string          `json:"times"` // as they were typed
	Request json.RawMessage `json:"request"`
}

func (x *export) path(name ...string) string {
	return filepath.Join(append([]string{x.folder}, name...)...)
}

// open makes the folder, or finds out where an export was interrupted.
func (x *export) open() error {
	if _, err := os.Lstat(x.path(exportSums)); err == nil {
		return errs.New(errs.Conflict, "the export in %s is complete; choose another folder", x.folder)
	}
	text, err := os.ReadFile(x.path(exportQuery))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = x.begin()
	case err == nil:
		err = x.resume(text)
	}
	if err != nil {
		return fileError("cannot export", err)
	}
	x.part, err = os.OpenFile(x.path(exportPart), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fileError("cannot export", err)
	}
	return x.goOn()
}

func (x *export) begin() error {
	if list, err := os.ReadDir(x.folder); err == nil && len(list) > 0 {
		return errs.New(errs.Conflict, "%s is not empty and not of an export; choose another folder", x.folder)
	}
	if err := os.MkdirAll(x.path(exportFiles), 0o700); err != nil {
		return err
	}
	request, err := line(x.req)
	if err != nil {
		return err
	}
	text, err := json.Marshal(asked{x.relative, request})
	if err != nil {
		return err
	}
	return writeNew(x.path(exportQuery), append(text, '\n'))
}

// resume takes the times from the export that was begun: "now" was then.
func (x *export) resume(text []byte) error {
	var was asked
	old := &v1.SearchRequest{}
	if err := json.Unmarshal(text, &was); err != nil {
		return errs.New(errs.Invalid, "%s cannot be read: %w", x.path(exportQuery), err)
	}
	if err := protojson.Unmarshal(was.Request, old); err != nil {
		return errs.New(errs.Invalid, "%s cannot be read: %w", x.path(exportQuery), err)
	}
	if was.Times != x.relative || old.Person != x.req.Person || old.With != x.req.With || !slices.Equal(old.Kinds, x.req.Kinds) {
		return errs.New(errs.Conflict, "the export in %s was begun with other options; give the same ones to go on, or choose another folder", x.folder)
	}
	if _, err := os.Lstat(x.path(exportRecords)); err == nil { // only the sums are missing
		if err := os.Rename(x.path(exportRecords), x.path(exportPart)); err != nil {
			return err
		}
	}
	x.req = old
	return nil
}

// goOn finds the last record that was written whole.
func (x *export) goOn() error {
	whole := int64(0)
	for in := bufio.NewReader(x.part); ; {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // a line without an end is not whole
		}
		if err != nil {
			return fileError("cannot export", err)
		}
		r := &v1.Record{}
		if err := protojson.Unmarshal(text, r); err != nil {
			return errs.New(errs.Invalid, "%s is damaged after %d records; choose another folder", x.path(exportPart), x.count)
		}
		x.req.After = r.Seq
		x.count++
		whole += int64(len(text))
	}
	if err := x.part.Truncate(whole); err != nil {
		return fileError("cannot export", err)
	}
	_, err := x.part.Seek(whole, io.SeekStart)
	return err
}

// records fetches what is still to come, page by page.
func (x *export) records() error {
	out := bufio.NewWriter(x.part)
	for {
		resp, err := x.client.Archive.Search(x.app.ctx, connect.NewRequest(x.req))
		if err != nil {
			return err
		}
		for _, r := range resp.Msg.Records {
			if err := x.file(r); err != nil {
				return err
			}
			text, err := line(r)
			if err != nil {
				return err
			}
			if _, err := out.Write(append(text, '\n')); err != nil {
				return fileError("cannot export", err)
			}
			x.req.After = r.Seq
			x.count++
		}
		if err := out.Flush(); err != nil {
			return fileError("cannot export", err)
		}
		if len(resp.Msg.Records) < page {
			return x.part.Sync()
		}
	}
}

// file fetches the file in a message, unless it is there.
func (x *export) file(r *v1.Record) error {
	hash := r.Meta[fileHash]
	if r.Kind != "message" || hash == "" {
		return nil
	}
	if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size {
		return errs.New(errs.Internal, "record %s names a file by %q, which is no hash", r.Id, hash)
	}
	if _, err := os.Lstat(x.path(exportFiles, hash)); err == nil {
		return nil
	}
	_, err := fetchTo(x.app, x.client, r.Id, x.path(exportFiles, hash))
	if connect.CodeOf(err) == connect.CodeNotFound {
		f, err := os.OpenFile(x.path(exportMissing), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return fileError("cannot export", err)
		}
		x.missing++
		_, err = fmt.Fprintf(f, "%s  %s\n", hash, r.Id)
		return errors.Join(err, f.Close())
	}
	return err
}

// finish gives the records their name, and makes the list of sums, with which the export is complete.
func (x *export) finish() error {
	if err := os.Rename(x.path(exportPart), x.path(exportRecords)); err != nil {
		return fileError("cannot export", err)
	}
	var sums bytes.Buffer
	for _, name := range []string{exportQuery, exportRecords, exportMissing} {
		f, err := os.Open(x.path(name))
		if name == exportMissing && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fileError("cannot export", err)
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		_ = f.Close() // only read
		if err != nil {
			return fileError("cannot export", err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum.Sum(nil), name)
	}
	list, err := os.ReadDir(x.path(exportFiles)) // sorted
	if err != nil {
		return fileError("cannot export", err)
	}
	for _, f := range list {
		if !strings.HasPrefix(f.Name(), ".") { // what an interrupted export has left
			fmt.Fprintf(&sums, "%s  %s/%s\n", f.Name(), exportFiles, f.Name())
			x.files++
		}
	}
	return writeNew(x.path(exportSums), sums.Bytes())
}

// line is a message as JSON in one line, always written in the same way.
func line(m proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return b.Bytes(), err
}

// writeNew writes a file that was not there, whole or not at all.
func writeNew(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".parley-file-*")
	if err != nil {
		return fileError("cannot write: making", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return putNew(f.Name(), path)
}

// putNew gives a file its name, which nobody must have.
func putNew(part, path string) error {
	err := os.Link(part, path)
	if errors.Is(err, fs.ErrExist) {
		return exists(path)
	}
	if err != nil { // some file systems have no links
		if _, there := os.Lstat(path); there == nil {
			return exists(path)
		}
		return os.Rename(part, path)
	}
	return os.Remove(part)
}

func exists(path string) error {
	return errs.New(errs.Conflict, "%s exists already; nothing is overwritten", path)
}
