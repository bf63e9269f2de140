package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5" //nolint:gosec // SIP digest
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the users of Kamailio
)

const kamailioModules = "/usr/lib/*/kamailio/modules/"

var kamailioBare = &subject{
	id: "kamailio", pack: "kamailio", name: "Kamailio, bare relay", keeps: "nothing; asks nobody who they are",
	needs: map[string]string{"kamailio": "kamailio", kamailioModules + "tls.so": "kamailio-tls-modules"},
	start: func(ctx context.Context, b *bench, p *place) (*running, error) { return startKamailio(ctx, p) },
}

var kamailioDigest = &subject{
	id: "kamailio-digest", pack: "kamailio", name: "Kamailio, digest", keeps: "nothing; digest on every message, users in SQLite, no replay check (its default)",
	needs: map[string]string{"kamailio": "kamailio", kamailioModules + "tls.so": "kamailio-tls-modules", kamailioModules + "db_sqlite.so": "kamailio-sqlite-modules"},
	start: func(ctx context.Context, b *bench, p *place) (*running, error) {
		return startKamailio(ctx, p, "DIGEST")
	},
}

var kamailioPresence = &subject{
	id: "kamailio-presence", pack: "kamailio-presence-modules", name: "Kamailio, presence",
	keeps: "publications in SQLite, subscriptions after at most 100 s (its default); digest on PUBLISH and new SUBSCRIBEs",
	needs: presenceNeeds,
	start: func(ctx context.Context, b *bench, p *place) (*running, error) {
		return startKamailio(ctx, p, "DIGEST", "PRESENCE")
	},
}

var kamailioPresenceMemory = &subject{
	id: "kamailio-presence-memory", pack: "kamailio-presence-modules", name: "Kamailio, presence in memory",
	keeps: "nothing; digest on PUBLISH and new SUBSCRIBEs",
	needs: presenceNeeds,
	start: func(ctx context.Context, b *bench, p *place) (*running, error) {
		return startKamailio(ctx, p, "DIGEST", "PRESENCE", "MEMORY")
	},
}

var presenceNeeds = map[string]string{
	"kamailio": "kamailio", kamailioModules + "db_sqlite.so": "kamailio-sqlite-modules", kamailioModules + "presence.so": "kamailio-presence-modules",
}

//go:embed kamailio.cfg
var kamailioConfig []byte

// sharedMB is Kamailio's memory for transactions, which it keeps for 5 s: at 30,000 messages a second 2 GB is not enough.
const sharedMB = 4096

// startKamailio starts it with parts of its configuration.
func startKamailio(ctx context.Context, p *place, parts ...string) (*running, error) {
	file := filepath.Join(p.dir, "kamailio.cfg")
	if err := os.WriteFile(file, kamailioConfig, 0o600); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	addr := loopback(port)
	// The allocator is not Debian's default, which costs 1.7 to 4.6 times as much.
	argv := []string{"kamailio", "-f", file, "-x", "fm", "-m", strconv.Itoa(sharedMB), "-M", "16", "-DD", "-E",
		"-Y", p.dir, "-P", filepath.Join(p.dir, "pid"), "-A", "PORT=" + strconv.Itoa(port), "-A", "WORKERS=" + strconv.Itoa(p.workers)}
	if p.transport == "tls" {
		cert, key := filepath.Join(p.dir, "cert.pem"), filepath.Join(p.dir, "key.pem")
		if err := makeCertificate(cert, key); err != nil {
			return nil, err
		}
		argv = append(argv, "-A", "TLS", "-A", "CERTIFICATE="+strconv.Quote(cert), "-A", "KEY="+strconv.Quote(key))
	}
	for _, part := range parts {
		argv = append(argv, "-A", part)
		make1, name, key := addKamailioUsers, "users.db", "DB="
		switch part {
		case "DIGEST":
		case "PRESENCE":
			make1, name, key = makePresenceTables, "presence.db", "PRESENCEDB="
		default:
			continue
		}
		db := filepath.Join(p.dir, name)
		if _, err := os.Stat(db); err != nil {
			if err := make1(ctx, db, p.users); err != nil {
				return nil, err
			}
		}
		argv = append(argv, "-A", key+strconv.Quote("sqlite:///"+db))
	}
	program, err := launch(p.dir, "kamailio", nil, nil, argv...)
	if err != nil {
		return nil, err
	}
	r := &running{
		addrs: map[string]string{p.transport: addr}, pids: []int{program.pid()},
		stop: func() error { return program.stop(syscall.SIGTERM) },
	}
	if p.quiet {
		return r, nil
	}
	return r, ready(ctx, program, r, 15*time.Second, func() error {
		if p.transport == "tls" {
			return handshake(addr)
		}
		return answers(addr, sipHello, "SIP/2.0")
	})
}

// handshake tells whether a TLS server is there.
func handshake(addr string) error {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own, just started
	if err != nil {
		return err
	}
	return conn.Close()
}

// addKamailioUsers makes the two tables of Kamailio that its digest needs, as its own script does.
func addKamailioUsers(ctx context.Context, file string, users int) (err error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	for _, statement := range []string{
		`CREATE TABLE version (table_name VARCHAR(32) PRIMARY KEY, table_version INTEGER)`,
		`INSERT INTO version VALUES ('subscriber', 7)`,
		`CREATE TABLE subscriber (id INTEGER PRIMARY KEY, username VARCHAR(64) NOT NULL, domain VARCHAR(64) NOT NULL,
			password VARCHAR(64) NOT NULL DEFAULT '', ha1 VARCHAR(128) NOT NULL DEFAULT '', ha1b VARCHAR(128) NOT NULL DEFAULT '')`,
		`CREATE UNIQUE INDEX account ON subscriber (username, domain)`,
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("bench: users of Kamailio: %w", err)
		}
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO subscriber (username, domain, ha1) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	for i := range users {
		if _, err := insert.ExecContext(ctx, userName(i), domain, hash(userName(i)+":"+domain+":"+password(i))); err != nil {
			return fmt.Errorf("bench: users of Kamailio: %w", err)
		}
	}
	return errors.Join(insert.Close(), tx.Commit())
}

// presenceTables is what Kamailio's own script makes tables with.
const presenceTables = "/usr/share/kamailio/db_sqlite/presence-create.sql"

// makePresenceTables makes the tables of Kamailio's presence server, in a file of their own with write-ahead log: with
// SQLite's default its processes wait seconds for each other.
func makePresenceTables(ctx context.Context, file string, _ int) (err error) {
	text, err := os.ReadFile(presenceTables)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		`PRAGMA journal_mode = WAL`, `CREATE TABLE version (table_name VARCHAR(32) PRIMARY KEY, table_version INTEGER)`, string(text),
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("bench: tables of Kamailio: %w", err)
		}
	}
	return nil
}

// kamailio tells whether a subject is one.
func (s *subject) kamailio() bool { _, ok := s.needs["kamailio"]; return ok }

func hash(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // SIP digest
	return hex.EncodeToString(sum[:])
}

// makeCertificate makes a key of the kind that Parley makes for itself, and a certificate.
func makeCertificate(cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain}, DNSNames: []string{domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}
