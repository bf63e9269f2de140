package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// Content opens what is in files; store.Blobs.Open is one.
type Content func(ctx context.Context, h store.BlobHash) (store.Blob, error)

// Keys of Meta of a message with a file, beside store.MetaFile; the message service sets them.
const (
	metaFileName = "file_name"
	metaFileType = "file_type"
	metaFileHash = "file_sha256" // hexadecimal
)

// File is a file in a message that is on record. Its owner closes it.
type File struct {
	Name string
	Type string // media type
	Hash store.BlobHash
	Size int64 // bytes

	blob store.Blob
}

// Close lets go of the content.
func (f *File) Close() error { return f.blob.Close() }

// Copy writes the content. The error has kind Internal when it is not what was sent: then it must not be used.
func (f *File) Copy(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	buffer := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return errs.Wrap(errs.Unavailable, err, "archive: reading a file")
		}
		n, err := f.blob.Read(buffer)
		sum.Write(buffer[:n])
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return errs.Wrap(errs.KindOf(err), err, "archive: handing out a file")
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errs.Wrap(errs.Internal, err, "archive: reading a file")
		}
	}
	if store.BlobHash(sum.Sum(nil)) != f.Hash {
		return errs.Say(errs.New(errs.Internal, "archive: the content of file %s has another hash", f.Hash),
			"the file is not what was sent any more: its content on the server's disk is damaged; restore it from a backup")
	}
	return nil
}

// File opens the file in the message with this record id, whatever was done to the message since. That it is taken out is recorded
// as a search is, and refused without. Errors: Invalid; NotFound when there is no such message, no file of ours in it, or it is not
// kept any more.
func (s *Service) File(ctx context.Context, by Actor, record string) (*File, error) {
	rid, err := id.Parse(record)
	if err != nil {
		return nil, errs.New(errs.Invalid, "archive: %q is not the id of a record", shorten(record))
	}
	r, err := s.store.Find(ctx, rid)
	if errors.Is(err, errs.NotFound) {
		return nil, errs.New(errs.NotFound, "archive: there is no record %s", rid)
	}
	if err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "archive: looking for a record")
	}
	hash, ok := store.ParseBlobHash(r.MetaValue(metaFileHash))
	if !ok || r.Kind != store.KindMessage {
		return nil, errs.New(errs.NotFound, "archive: there is no file of this server in record %s", rid)
	}
	f := &File{Name: r.MetaValue(metaFileName), Type: r.MetaValue(metaFileType), Hash: hash}
	what := "file record=" + strconv.Quote(rid.String()) + " name=" + strconv.Quote(f.Name) + " sha256=" + strconv.Quote(hash.String())
	if _, err := s.append(ctx, by, r.From, what); err != nil {
		return nil, errs.Say(errs.Wrap(errs.KindOf(err), err, "archive: recording that a file is taken out"),
			"the file was not handed out, because that could not be recorded; try again")
	}
	f.blob, err = s.content(ctx, hash)
	if errors.Is(err, errs.NotFound) {
		return nil, errs.New(errs.NotFound, "archive: the file of record %s is not kept any more", rid)
	}
	if err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "archive: opening a file")
	}
	f.Size = f.blob.Size()
	return f, nil
}

// shorten bounds what callers can make us repeat.
func shorten(s string) string { return s[:min(len(s), 80)] }
