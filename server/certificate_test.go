package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// verify checks the chain as a client that imported ca.pem does.
func verify(t *testing.T, folder string, pair *tls.Certificate, names ...string) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(read(t, filepath.Join(folder, "ca.pem"))) {
		t.Fatal("ca.pem holds no certificate")
	}
	for _, n := range names {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: n, Roots: roots}); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

// Made once, and the same after a restart.
func TestOwnCertificate(t *testing.T) {
	a := authority{folder: filepath.Join(t.TempDir(), "tls"), names: []string{"example.com", "host", "192.0.2.1", "::1"}}
	first, err := a.certificate()
	if err != nil {
		t.Fatal(err)
	}
	verify(t, a.folder, first, "example.com", "host", "192.0.2.1", "::1")
	if first.Leaf.VerifyHostname("other.net") == nil {
		t.Error("it is for other.net as well")
	}
	if life := first.Leaf.NotAfter.Sub(first.Leaf.NotBefore); life > 825*24*time.Hour {
		t.Errorf("clients refuse a life of %v", life)
	}
	for _, name := range []string{"ca.key", "server.key"} {
		st, err := os.Stat(filepath.Join(a.folder, name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
	again, err := a.certificate()
	if err != nil || !bytes.Equal(again.Leaf.Raw, first.Leaf.Raw) {
		t.Errorf("a second certificate was made: %v", err)
	}
}

// A new domain or address makes a new certificate under the same CA, which clients have imported.
func TestOwnCertificateForNewNames(t *testing.T) {
	a := authority{folder: t.TempDir(), names: []string{"example.com"}}
	first, err := a.certificate()
	if err != nil {
		t.Fatal(err)
	}
	ca := read(t, filepath.Join(a.folder, "ca.pem"))
	a.names = []string{"example.com", "example.org", "192.0.2.7"}
	second, err := a.certificate()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first.Leaf.Raw, second.Leaf.Raw) {
		t.Error("no new certificate")
	}
	if !bytes.Equal(ca, read(t, filepath.Join(a.folder, "ca.pem"))) {
		t.Error("a new CA")
	}
	verify(t, a.folder, second, "example.com", "example.org", "192.0.2.7")
}

// One that ends soon is made anew; so is a CA that ends before its certificates would.
func TestOwnCertificateIsRenewed(t *testing.T) {
	a := authority{folder: t.TempDir(), names: []string{"example.com"}}
	if _, err := a.certificate(); err != nil {
		t.Fatal(err)
	}
	ca, caKey, err := a.root()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	soon := template("example.com", renewBefore-time.Hour)
	soon.DNSNames = a.names
	der, err := x509.CreateCertificate(rand.Reader, soon, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.write("server", key, der, ca.Raw); err != nil {
		t.Fatal(err)
	}
	pair, err := a.certificate()
	if err != nil || time.Until(pair.Leaf.NotAfter) < 300*24*time.Hour {
		t.Fatalf("not renewed: %v %v", pair.Leaf.NotAfter, err)
	}
	verify(t, a.folder, pair, "example.com")
}

// Half of the CA is no reason to make a new one in silence.
func TestOwnCertificateBroken(t *testing.T) {
	a := authority{folder: t.TempDir(), names: []string{"example.com"}}
	if _, err := a.certificate(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file("ca.key"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.names = append(a.names, "example.org")
	if _, err := a.certificate(); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("%v", err)
	}
}

// A file that is replaced while the server runs is taken; one that is broken is not.
func TestCertificateFileChanges(t *testing.T) {
	folder := t.TempDir()
	a, b := authority{folder: filepath.Join(folder, "a"), names: []string{"example.com"}}, authority{folder: filepath.Join(folder, "b"), names: []string{"example.com"}}
	first, err := a.certificate()
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.certificate()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "both.pem")
	install := func(text ...[]byte) {
		t.Helper()
		if err := os.WriteFile(file, slices.Concat(text...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install(read(t, a.file("server.pem")), read(t, a.file("server.key")))
	c, err := newCertificate(fromFiles(file, "", "sip.key", []string{"example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(want *tls.Certificate, what string) {
		t.Helper()
		c.mu.Lock()
		c.looked = time.Now().Add(-2 * lookAgain)
		c.mu.Unlock()
		if got, err := c.get(nil); err != nil || !bytes.Equal(got.Leaf.Raw, want.Leaf.Raw) {
			t.Errorf("%s: another certificate, %v", what, err)
		}
	}
	serves(first, "at first")
	install(read(t, b.file("server.pem")), read(t, b.file("server.key")))
	serves(second, "replaced")
	install([]byte("garbage"))
	serves(second, "broken")
	install(read(t, a.file("server.pem")), read(t, b.file("server.key")))
	serves(second, "with the key of another")
	if block, _ := pem.Decode(read(t, b.file("server.key"))); block == nil || block.Type != "PRIVATE KEY" {
		t.Error("the key is not in PKCS 8")
	}
}

func TestOwnNames(t *testing.T) {
	names := ownNames([]string{"example.com", "localhost"}, "sip.example.com")
	if names[0] != "example.com" || names[2] != "sip.example.com" {
		t.Errorf("%q", names)
	}
	for _, n := range []string{"localhost", "127.0.0.1", "::1"} {
		if i := slices.Index(names, n); i < 0 || slices.Contains(names[i+1:], n) {
			t.Errorf("%s is not there once: %q", n, names)
		}
	}
}

// Whatever a renewal of the CA was doing when the power went, the next start has a pair that works.
func TestRenewalInterrupted(t *testing.T) {
	old := authority{folder: t.TempDir(), names: []string{"example.com"}}
	if _, err := old.certificate(); err != nil {
		t.Fatal(err)
	}
	renewed := authority{folder: t.TempDir(), names: []string{"example.com"}}
	if _, err := renewed.certificate(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca", "server"} {
		for _, row := range []struct {
			when              string
			key, cert         string // ".new": beside the old one; "": in its place; "-": not yet
			halfKey, halfCert bool
			fresh             bool // the new CA
		}{
			{when: "while the key is written", key: ".new", halfKey: true, cert: "-"},
			{when: "while the certificate is written", key: ".new", cert: ".new", halfCert: true},
			{when: "before the key is in its place", key: ".new", cert: ".new"},
			{when: "between key and certificate", key: "", cert: ".new", fresh: true},
			{when: "at the end", key: "", cert: "", fresh: true},
		} {
			a := authority{folder: t.TempDir(), names: old.names}
			if err := os.CopyFS(a.folder, os.DirFS(old.folder)); err != nil {
				t.Fatal(err)
			}
			leave := func(file, suffix string, mode os.FileMode, half bool) {
				text := read(t, renewed.file(file))
				if half {
					text = text[:len(text)/2]
				}
				if suffix == "-" {
					return
				}
				if err := os.WriteFile(a.file(file+suffix), text, mode); err != nil {
					t.Fatal(err)
				}
			}
			leave(name+".key", row.key, 0o600, row.halfKey)
			leave(name+".pem", row.cert, 0o644, row.halfCert)
			a.names = []string{"example.com", "example.net"} // asks for a new certificate, and so for the CA
			pair, err := a.certificate()
			if err != nil {
				t.Errorf("%s, %s: %v", name, row.when, err)
				continue
			}
			verify(t, a.folder, pair, a.names...)
			from := old
			if row.fresh && name == "ca" {
				from = renewed
			}
			if !bytes.Equal(read(t, a.file("ca.pem")), read(t, from.file("ca.pem"))) {
				t.Errorf("%s, %s: another CA than was to be", name, row.when)
			}
		}
	}
}
