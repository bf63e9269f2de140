package server

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/blobs"
	"github.com/parley-im/parley/store/sqlstore"
)

// A backup is a tar file: "store/", the logical copy of the databases that sqlstore makes, the folders "keys/" and "tls/" of the
// data folder as they are, and last, because it may be large, "files/" with the content of files, each under its SHA-256.
const storeFolder = "store"

// keptFolders of the data folder are in a backup file by file.
var keptFolders = []string{"keys", "tls"}

// maxRestored bounds one small file of a backup, in bytes; the copy of the databases has no bound.
const maxRestored = 1 << 20

// Backup implements api.Server.
func (s *Server) Backup(ctx context.Context, w io.Writer) error {
	return backup(ctx, s.cfg.Data, s.store.sql, w)
}

// Backup implements api.Server.
func (o offline) Backup(ctx context.Context, w io.Writer) error {
	return backup(ctx, o.cfg.Data, o.store.sql, w)
}

func backup(ctx context.Context, data string, st *sqlstore.Store, w io.Writer) error {
	copied, err := os.MkdirTemp(data, ".backup-")
	if err != nil {
		return errs.Wrap(errs.Unavailable, err, "server: making a folder for the backup")
	}
	defer os.RemoveAll(copied)
	if err := st.Backup(ctx, copied); err != nil {
		return errs.Wrap(errs.KindOf(err), err, "server: copying the store")
	}
	tw := tar.NewWriter(w)
	if err := pack(tw, copied, storeFolder); err != nil {
		return err
	}
	for _, folder := range keptFolders {
		if err := pack(tw, filepath.Join(data, folder), folder); err != nil {
			return err
		}
	}
	if err := packContent(ctx, tw, filepath.Join(data, filesFolder)); err != nil {
		return err
	}
	return errs.Wrap(errs.Unavailable, tw.Close(), "server: writing the backup")
}

// packContent writes the content of files. What is uploaded after the store was copied is in the backup without a use; what is still
// being uploaded is not.
func packContent(ctx context.Context, tw *tar.Writer, folder string) error {
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	content, err := blobs.Open(folder)
	if err != nil {
		return err
	}
	return content.Walk(ctx, func(h store.BlobHash, _ int64, committed time.Time) error {
		b, err := content.Open(ctx, h)
		if errors.Is(err, errs.NotFound) {
			return nil // it was removed just now
		}
		if err != nil {
			return err
		}
		defer b.Close()
		name := filesFolder + "/" + h.String()[:2] + "/" + h.String()
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: b.Size(), ModTime: committed}); err != nil {
			return errs.Wrap(errs.Unavailable, err, "server: writing the backup")
		}
		_, err = io.Copy(tw, b)
		return errs.Wrap(errs.Unavailable, err, "server: writing the backup")
	})
}

// pack writes the files of a folder, which has no folders in it, under a name.
func pack(tw *tar.Writer, folder, name string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no TLS
	}
	if err != nil {
		return errs.Wrap(errs.Unavailable, err, "server: reading for the backup")
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if err := packFile(tw, filepath.Join(folder, e.Name()), name+"/"+e.Name()); err != nil {
			return errs.Wrap(errs.Unavailable, err, "server: writing the backup")
		}
	}
	return nil
}

func packFile(tw *tar.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime()}); err != nil {
		return err
	}
	_, err = io.Copy(tw, io.LimitReader(f, st.Size()))
	return err
}

// Restore fills an empty data folder, and an empty database when the store is PostgreSQL, from a backup.
func Restore(ctx context.Context, cfg *config.Config, r io.Reader) error {
	if entries, err := os.ReadDir(cfg.Data); err == nil && len(entries) > 0 {
		return errs.New(errs.Conflict, "server: the data folder %s is not empty; restore into a new one (data = \"…\"), or move this one away", cfg.Data)
	}
	// Unpacked beside the goal, so that a broken backup leaves nothing that looks like data.
	parent := filepath.Dir(filepath.Clean(cfg.Data))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return errs.Wrap(errs.KindOf(err), err, "server: making the folder of the data folder")
	}
	folder, err := os.MkdirTemp(parent, ".parley-restore-")
	if err != nil {
		return errs.Wrap(errs.KindOf(err), err, "server: making a folder for the restore")
	}
	defer os.RemoveAll(folder)
	if err := unpack(tar.NewReader(r), folder); err != nil {
		return err
	}
	copied := folder + "-store"
	if err := os.Rename(filepath.Join(folder, storeFolder), copied); err != nil {
		return errs.New(errs.Invalid, "server: the file is not a backup of Parley: it holds no copy of the store")
	}
	defer os.RemoveAll(copied)
	err = sqlstore.Restore(ctx, sqlstore.Options{Dir: folder, URL: cfg.Store.URL, Text: message.Text}, copied)
	if err != nil {
		return errs.Wrap(errs.KindOf(err), err, "server: restoring the store")
	}
	if err := os.Remove(cfg.Data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.Wrap(errs.KindOf(err), err, "server: replacing the empty data folder")
	}
	return errs.Wrap(errs.Internal, os.Rename(folder, cfg.Data), "server: moving the restored data into place")
}

// unpack writes the files of a backup, and nothing that a tar file of somebody else could smuggle in.
func unpack(tr *tar.Reader, folder string) error {
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errs.New(errs.Invalid, "server: the backup cannot be read (%w); is it whole?", err)
		}
		top, name, _ := strings.Cut(h.Name, "/")
		if top == filesFolder && h.Typeflag == tar.TypeReg {
			if err := unpackContent(tr, folder, name); err != nil {
				return err
			}
			continue
		}
		if !knownFolder(top) || name == "" || name != filepath.Base(name) || name == ".." || h.Typeflag != tar.TypeReg {
			return errs.New(errs.Invalid, "server: the file is not a backup of Parley: it holds %q", h.Name)
		}
		if top != storeFolder && h.Size > maxRestored {
			return errs.New(errs.Invalid, "server: the file is not a backup of Parley: %s has %d bytes", h.Name, h.Size)
		}
		err = unpackFile(tr, filepath.Join(folder, top), name)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errs.New(errs.Invalid, "server: the backup ends in the middle of %s; is it whole?", h.Name)
		}
		if err != nil {
			return errs.Wrap(errs.KindOf(err), err, "server: unpacking "+h.Name)
		}
	}
}

// unpackContent writes the content of a file, if it is what its name says.
func unpackContent(tr io.Reader, folder, name string) error {
	sub, name, _ := strings.Cut(name, "/")
	h, ok := store.ParseBlobHash(name)
	if !ok || h.String() != name || sub != name[:2] {
		return errs.New(errs.Invalid, "server: the file is not a backup of Parley: it holds %q", filesFolder+"/"+sub+"/"+name)
	}
	sum := sha256.New()
	err := unpackFile(io.TeeReader(tr, sum), filepath.Join(folder, filesFolder, sub), name)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errs.New(errs.Invalid, "server: the backup ends in the middle of a file; is it whole?")
	}
	if err != nil {
		return errs.Wrap(errs.KindOf(err), err, "server: unpacking a file")
	}
	if store.BlobHash(sum.Sum(nil)) != h {
		return errs.New(errs.Invalid, "server: the backup is damaged: a file does not have its SHA-256, %s", name)
	}
	return nil
}

func knownFolder(name string) bool {
	for _, k := range keptFolders {
		if name == k {
			return true
		}
	}
	return name == storeFolder
}

func unpackFile(r io.Reader, folder, name string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
