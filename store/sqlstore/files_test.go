package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// people for files.
func addFileUsers(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Users().AddUsers(t.Context(), []store.User{{AOR: "alice@example.com"}, {AOR: "bob@example.com"}}); err != nil {
		t.Fatal(err)
	}
}

func aFile(id string) store.File {
	return store.File{ID: id, Owner: "alice@example.com", Name: "bäck\"up.txt", Type: "text/plain", Size: 1000, Created: soon(0)}
}

func wantFile(t testing.TB, f store.Files, want store.File) {
	t.Helper()
	got, err := f.File(t.Context(), want.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&want, got); d != "" {
		t.Fatal(d)
	}
}

func TestFiles(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := open(t, o)
		addFileUsers(t, s.Store)
		files, ctx := s.Files(), t.Context()
		quota := store.FileQuota{Files: 2, Bytes: 2500}
		f := aFile("f1")
		if err := files.AddFile(ctx, f, quota); err != nil {
			t.Fatal(err)
		}
		wantFile(t, files, f)
		if err := files.ClaimFile(ctx, "f1", "bob@example.com"); !errors.Is(err, errs.Conflict) {
			t.Fatalf("claiming what is not complete: %v", err)
		}
		for what, err := range map[string]error{
			"unknown account": files.AddFile(ctx, store.File{ID: "f9", Owner: "nobody@example.com"}, quota),
			"unknown file":    files.ClaimFile(ctx, "f9", "bob@example.com"),
			"completing none": files.CompleteFile(ctx, store.File{ID: "f9", SHA256: store.BlobHash{1}}),
		} {
			if !errors.Is(err, errs.NotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := files.File(ctx, "f9"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		f.Name, f.Type, f.Size, f.SHA256, f.Thumbnail, f.Width, f.Height = "new", "image/png", 900, store.BlobHash{1, 31: 2}, store.BlobHash{3}, 640, 480
		if err := files.CompleteFile(ctx, f); err != nil {
			t.Fatal(err)
		}
		wantFile(t, files, f)
		if err := files.CompleteFile(ctx, f); !errors.Is(err, errs.Conflict) {
			t.Fatalf("completed twice: %v", err)
		}
		for range 2 {
			if err := files.ClaimFile(ctx, "f1", "bob@example.com"); err != nil {
				t.Fatal(err)
			}
		}
		if err := files.ClaimFile(ctx, "f1", "carol@example.com"); !errors.Is(err, errs.Conflict) {
			t.Fatalf("claimed for two conversations: %v", err)
		}
		f.Conversation = "bob@example.com"
		wantFile(t, files, f)
		for h, want := range map[store.BlobHash]bool{f.SHA256: true, f.Thumbnail: true, {9}: false} {
			if got, err := files.HasContent(ctx, h); err != nil || got != want {
				t.Errorf("%s: %v %v", h, got, err)
			}
		}
		if err := files.RecordFiles(ctx, map[string]int64{"f1": 7, "f9": 8}); err != nil {
			t.Fatal(err)
		}
		if err := files.RecordFiles(ctx, map[string]int64{"f1": 9}); err != nil {
			t.Fatal(err)
		}
		f.Recorded = 7
		wantFile(t, files, f)
	})
}

// TestFileQuota: what a message names does not count, what waits does; removing the account removes what no message names.
func TestFileQuota(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := open(t, o)
		addFileUsers(t, s.Store)
		files, ctx := s.Files(), t.Context()
		quota := store.FileQuota{Files: 3, Bytes: 3500}
		for i := range 3 {
			f := aFile(fmt.Sprintf("f%d", i))
			f.Created = soon(time.Duration(i-10) * time.Hour)
			if err := files.AddFile(ctx, f, quota); err != nil {
				t.Fatal(err)
			}
		}
		if err := files.AddFile(ctx, aFile("f4"), quota); !errors.Is(err, errs.TooMany) {
			t.Fatalf("too many files: %v", err)
		}
		if n, err := files.CountOpen(ctx); err != nil || n != 3 {
			t.Fatal(n, err)
		}
		done := aFile("f0")
		done.SHA256 = store.BlobHash{1}
		if err := errors.Join(files.CompleteFile(ctx, done), files.RecordFiles(ctx, map[string]int64{"f0": 1})); err != nil {
			t.Fatal(err)
		}
		big := aFile("f5")
		if big.Size = 1501; !errors.Is(files.AddFile(ctx, big, quota), errs.TooMany) {
			t.Fatal("too many bytes were taken")
		}
		if big.Size = 1500; files.AddFile(ctx, big, quota) != nil {
			t.Fatal("the quota counts what a message names")
		}
		ids := func(recorded bool, before time.Time, limit int) (list []string) {
			t.Helper()
			old, err := files.OldFiles(ctx, recorded, before, limit)
			if err != nil {
				t.Fatal(err)
			}
			for i := range old {
				list = append(list, old[i].ID)
			}
			return list
		}
		for _, c := range []struct {
			got, want []string
		}{
			{ids(false, soon(-time.Hour), 10), []string{"f1", "f2"}},
			{ids(false, soon(-time.Hour), 1), []string{"f1"}},
			{ids(true, soon(-time.Hour), 10), []string{"f0"}},
			{ids(true, soon(-11*time.Hour), 10), nil},
		} {
			if d := cmp.Diff(c.want, c.got); d != "" {
				t.Error(d)
			}
		}
		if err := files.RemoveFiles(ctx, "f1", "unknown"); err != nil {
			t.Fatal(err)
		}
		if err := s.Users().RemoveUser(ctx, "alice@example.com"); err != nil {
			t.Fatal(err)
		}
		for id, kept := range map[string]bool{"f0": true, "f1": false, "f2": false, "f5": false} {
			if _, err := files.File(ctx, id); kept != (err == nil) {
				t.Errorf("%s after its owner is gone: %v", id, err)
			}
		}
	})
}

func TestFilesInBackup(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := open(t, o)
		addFileUsers(t, s.Store)
		ctx := context.Background()
		begun, done := aFile("f1"), aFile("f2")
		if err := errors.Join(s.Files().AddFile(ctx, begun, store.FileQuota{Files: 9, Bytes: 9999}), s.Files().AddFile(ctx, done, store.FileQuota{Files: 9, Bytes: 9999})); err != nil {
			t.Fatal(err)
		}
		done.SHA256, done.Thumbnail, done.Width, done.Height = store.BlobHash{1}, store.BlobHash{2}, 3, 4
		if err := errors.Join(s.Files().CompleteFile(ctx, done), s.Files().ClaimFile(ctx, "f2", "bob@example.com"), s.Files().RecordFiles(ctx, map[string]int64{"f2": 5})); err != nil {
			t.Fatal(err)
		}
		done.Conversation, done.Recorded = "bob@example.com", 5
		folder := t.TempDir()
		if err := s.Backup(ctx, folder); err != nil {
			t.Fatal(err)
		}
		to := Options{Dir: t.TempDir()}
		if err := Restore(ctx, to, folder); err != nil {
			t.Fatal(err)
		}
		back := open(t, to)
		wantFile(t, back.Files(), begun)
		wantFile(t, back.Files(), done)
	})
}
