package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/base/errs"
)

// Lives of what the own CA makes. Clients refuse certificates that live longer than 825 days.
const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 398 * 24 * time.Hour
	renewBefore     = 30 * 24 * time.Hour
	lookAgain       = time.Hour // how often files and dates are looked at
)

// certificate serves one TLS certificate that is renewed, or read again when its file changes, while the server runs.
type certificate struct {
	load func() (*tls.Certificate, error)

	mu     sync.Mutex // guards what follows
	leaf   *tls.Certificate
	looked time.Time
}

func newCertificate(load func() (*tls.Certificate, error)) (*certificate, error) {
	leaf, err := load()
	if err != nil {
		return nil, err
	}
	return &certificate{load: load, leaf: leaf, looked: time.Now()}, nil
}

// get implements tls.Config.GetCertificate. A file that has gone bad keeps the certificate there is.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) > lookAgain {
		c.looked = time.Now()
		if leaf, err := c.load(); err == nil {
			c.leaf = leaf
		}
	}
	return c.leaf, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}
}

// fromFiles loads a certificate and its key, which may be in one file, and checks that it can serve one of names. KeyName
// is what the configuration calls the key's file.
func fromFiles(certFile, keyFile, keyName string, names []string) func() (*tls.Certificate, error) {
	if keyFile == "" {
		keyFile = certFile
	}
	return func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, errs.New(errs.NotFound, "server: there is no file %s: name the PEM file of the certificate, or write \"auto\"", pathOf(err))
		case err != nil && strings.Contains(err.Error(), "does not match"):
			return nil, errs.New(errs.Invalid, "server: the certificate in %s and the private key in %s do not belong together: give the key that the certificate was made for", certFile, keyFile)
		case err != nil && certFile == keyFile && strings.Contains(err.Error(), "rather than a key"):
			return nil, errs.New(errs.Invalid, "server: in %s there is a certificate and no private key: name its file with %s", certFile, keyName)
		case err != nil:
			return nil, errs.New(errs.Invalid, "server: %s (key in %s) is no certificate in PEM form that can be used: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
		}
		if time.Now().After(pair.Leaf.NotAfter) {
			return nil, errs.New(errs.Invalid, "server: the certificate in %s ended on %s: renew it", certFile, pair.Leaf.NotAfter.Format(time.DateOnly))
		}
		for _, n := range names {
			if pair.Leaf.VerifyHostname(n) == nil {
				return &pair, nil
			}
		}
		return nil, errs.New(errs.Invalid, "server: the certificate in %s is for %s, and this server is %s: get a certificate for that name, or set domains (or sip.advertise) to the name in the certificate",
			certFile, strings.Join(pair.Leaf.DNSNames, ", "), strings.Join(names, ", "))
	}
}

func pathOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path
	}
	return "of that name"
}

// authority is the own CA in a folder: ca.pem is what people import, the rest stays here.
type authority struct {
	folder string
	names  []string // that its certificate is for
}

// certificate returns the server's certificate, and makes CA and certificate when they are missing, do not fit
// the names any more, or end soon.
func (a authority) certificate() (*tls.Certificate, error) {
	if err := os.MkdirAll(a.folder, 0o700); err != nil {
		return nil, errs.Wrap(errs.KindOf(err), err, "server: making the folder for certificates")
	}
	pair, err := a.load("server")
	if err == nil && a.fits(pair.Leaf) {
		return &pair, nil
	}
	ca, caKey, err := a.root()
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("server: making a key: %w", err)
	}
	leaf := template(a.names[0], certificateLife)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.DNSNames, leaf.IPAddresses = split(a.names)
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("server: making a certificate: %w", err)
	}
	if err := a.write("server", key, der, ca.Raw); err != nil {
		return nil, err
	}
	pair, err = a.load("server")
	return &pair, err
}

// fits tells whether a certificate covers all names for a while.
func (a authority) fits(leaf *x509.Certificate) bool {
	if time.Until(leaf.NotAfter) < renewBefore {
		return false
	}
	return !slices.ContainsFunc(a.names, func(n string) bool { return leaf.VerifyHostname(n) != nil })
}

// root is the CA, made on first use.
func (a authority) root() (*x509.Certificate, crypto.Signer, error) {
	pair, err := a.load("ca")
	if err == nil && time.Until(pair.Leaf.NotAfter) > certificateLife {
		key, ok := pair.PrivateKey.(crypto.Signer)
		if !ok {
			return nil, nil, errs.New(errs.Invalid, "server: the key of the CA cannot sign")
		}
		return pair.Leaf, key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errs.New(errs.Invalid, "server: the own CA in %s cannot be read: %w; restore it from a backup, or remove ca.pem and ca.key to make a new one that clients must import again", a.folder, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("server: making a key: %w", err)
	}
	ca := template("Parley CA of "+a.names[0], authorityLife)
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero = true, true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("server: making the CA: %w", err)
	}
	if err := a.write("ca", key, der); err != nil {
		return nil, nil, err
	}
	ca, err = x509.ParseCertificate(der)
	return ca, key, err
}

func (a authority) file(name string) string { return filepath.Join(a.folder, name) }

// write stores name.pem and name.key. Both are complete on the disk before the first takes its place, so whenever it is
// interrupted there is a pair that works: the old one, the new one, or the new key and, in name.pem.new, its certificate,
// which load puts in its place.
func (a authority) write(name string, key *ecdsa.PrivateKey, chain ...[]byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("server: writing a key: %w", err)
	}
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	keyFile, certFile := a.file(name+".key"), a.file(name+".pem")
	for _, step := range []func() error{
		func() error {
			return writeNew(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
		},
		func() error { return writeNew(certFile, text, 0o644) },
		func() error { return takePlace(keyFile) },
		func() error { return takePlace(certFile) },
	} {
		if err := step(); err != nil {
			return errs.Wrap(errs.KindOf(err), err, "server: writing a certificate and its key")
		}
	}
	return nil
}

// load reads name.pem and name.key, and ends a write that was interrupted between the two.
func (a authority) load(name string) (tls.Certificate, error) {
	keyFile, certFile := a.file(name+".key"), a.file(name+".pem")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		return pair, nil
	}
	whole, again := tls.LoadX509KeyPair(certFile+".new", keyFile)
	if again != nil {
		return tls.Certificate{}, err
	}
	return whole, errs.Wrap(errs.Internal, takePlace(certFile), "server: putting a certificate in its place")
}

// writeNew writes path.new, which is on the disk when it returns.
func writeNew(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncFolder(path)
}

// takePlace makes path.new the file at path, also after a power loss.
func takePlace(path string) error {
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder writes the folder of path to the disk.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func template(name string, life time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // fails only without a random source, which ends the process
	now := time.Now().Add(-time.Hour)                                        // clients' clocks differ
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now, NotAfter: now.Add(life)}
}

// split parts names from addresses.
func split(names []string) (dns []string, ips []net.IP) {
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			ips = append(ips, ip)
		} else {
			dns = append(dns, n)
		}
	}
	return dns, ips
}

// ownNames are all names and addresses under which this machine may be reached, the domains first.
func ownNames(domains []string, advertise string) []string {
	names := slices.Clone(domains)
	add := func(n string) {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	add(advertise)
	if host, err := os.Hostname(); err == nil {
		add(strings.ToLower(host))
	}
	for _, n := range []string{"localhost", "127.0.0.1", "::1"} {
		add(n)
	}
	addrs, _ := net.InterfaceAddrs() // none is fine: the names remain
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			add(n.IP.String())
		}
	}
	return names
}
