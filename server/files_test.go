package server

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/blobs"
	"github.com/parley-im/parley/store/sqlstore"
)

func TestFileAddress(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "https://example.com:8443"},
		{"[http]\nlisten = \"0.0.0.0:443\"", "https://example.com"},
		{"[http]\nlisten = \"[::]:80\"\ntls = \"off\"", "http://example.com"},
		{"[http]\nlisten = \"192.0.2.1:8080\"\ntls = \"off\"", "http://192.0.2.1:8080"},
		{"[http]\nlisten = \"[2001:db8::1]:8443\"", "https://[2001:db8::1]:8443"},
		{"[http]\nlisten = \"[2001:db8::1]:443\"", "https://[2001:db8::1]"},
		{"[http]\nlisten = \"127.0.0.1:8080\"\ntls = \"off\"\nproxies = [\"127.0.0.1\"]", "https://example.com"},
		{"[http]\nproxies = [\"127.0.0.1\"]", "https://example.com:8443"},
		{"[sip]\nadvertise = \"sip.example.com\"", "https://sip.example.com:8443"},
		{"[files]\nurl = \"https://chat.example.com\"", "https://chat.example.com"},
		{"[http]\nlisten = \"\"", ""},
	} {
		cfg, err := config.Parse("", []byte("domains = [\"example.com\"]\n"+c.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := fileAddress(cfg); got != c.want {
			t.Errorf("%q: %s", c.text, got)
		}
	}
}

// TestContentInBackup: the content of files is in a backup and comes back; what was changed on the way is noticed.
func TestContentInBackup(t *testing.T) {
	data, ctx := t.TempDir(), t.Context()
	st, err := sqlstore.Open(ctx, sqlstore.Options{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	folder, err := blobs.Open(filepath.Join(data, filesFolder))
	if err != nil {
		t.Fatal(err)
	}
	var hashes []store.BlobHash
	for _, text := range []string{"hello", "world", ""} {
		if _, err := folder.Append(ctx, "part", 0, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		h, _, err := folder.Commit(ctx, "part")
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h)
	}
	if _, err := folder.Append(ctx, "growing", 0, strings.NewReader("not yet")); err != nil {
		t.Fatal(err)
	}
	var tape bytes.Buffer
	if err := backup(ctx, data, st, &tape); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "data")
	if err := Restore(ctx, &config.Config{Data: to}, bytes.NewReader(tape.Bytes())); err != nil {
		t.Fatal(err)
	}
	back, err := blobs.Open(filepath.Join(to, filesFolder))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"hello", "world", ""} {
		f, err := back.Open(ctx, hashes[i])
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil || string(got) != want {
			t.Fatal(string(got), err)
		}
	}
	if names, err := os.ReadDir(filepath.Join(to, filesFolder, "new")); err != nil || len(names) != 0 {
		t.Fatal(names, err)
	}

	hello := filesFolder + "/" + hashes[0].String()[:2] + "/" + hashes[0].String()
	for what, change := range map[string]func(h *tar.Header, body []byte) []byte{
		"another content": func(h *tar.Header, b []byte) []byte { return bytes.ToUpper(b) },
		"another folder":  func(h *tar.Header, b []byte) []byte { h.Name = "files/zz/" + hashes[0].String(); return b },
		"a way out":       func(h *tar.Header, b []byte) []byte { h.Name = "files/../../x"; return b },
		"no hash":         func(h *tar.Header, b []byte) []byte { h.Name = "files/ab/abc"; return b },
		"a link": func(h *tar.Header, b []byte) []byte {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc", 0
			return nil
		},
		"in no sub-folder": func(h *tar.Header, b []byte) []byte { h.Name = "files/" + hashes[0].String(); return b },
	} {
		var changed bytes.Buffer
		rewrite(t, &changed, tape.Bytes(), func(h *tar.Header, body []byte) []byte {
			if h.Name == hello {
				return change(h, body)
			}
			return body
		})
		to := filepath.Join(t.TempDir(), "data")
		if err := Restore(context.Background(), &config.Config{Data: to}, &changed); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("%s: something was restored", what)
		}
	}
}

// rewrite writes a tar file again with changes.
func rewrite(t *testing.T, to io.Writer, from []byte, change func(*tar.Header, []byte) []byte) {
	t.Helper()
	w := tar.NewWriter(to)
	for r := tar.NewReader(bytes.NewReader(from)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		body = change(h, body)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
