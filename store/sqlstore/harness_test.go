package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// onEach runs a test on SQLite, and on PostgreSQL when PARLEY_TEST_POSTGRES names a server. Each run has its own folder
// and its own schema.
func onEach(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, Options{Dir: t.TempDir(), Log: testLog(t)})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, postgresOptions(t))
	})
}

var schemas atomic.Int64

// postgresOptions makes a schema of its own for the test.
func postgresOptions(t testing.TB) Options {
	t.Helper()
	server := os.Getenv("PARLEY_TEST_POSTGRES")
	if server == "" {
		t.Skip("not tested on PostgreSQL: set PARLEY_TEST_POSTGRES=postgres://user@host:port/database")
	}
	name := fmt.Sprintf("t%d_%d", os.Getpid(), schemas.Add(1))
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Exec("DROP SCHEMA " + name + " CASCADE")
		db.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return Options{Dir: t.TempDir(), URL: u.String(), Log: testLog(t)}
}

// testLog shows what the store logs when a test fails.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// running is a store that serves.
type running struct {
	*Store
	stop  func() error // ends Serve and returns its error; Close is not called
	ended chan struct{}
	err   error
}

// promised is how long a record waits before it is refused, for tests that want that. In others it waits for as long as
// the test does: a machine that is busy with other tests may take longer to write.
const promised = 700 * time.Millisecond

// open opens a store and serves it until the test ends.
func open(t testing.TB, o Options) *running {
	t.Helper()
	o.patience = cmp.Or(o.patience, patience)
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := serve(s)
	t.Cleanup(func() {
		r.stop()
		s.Close()
	})
	return r
}

func serve(s *Store) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Store: s, ended: make(chan struct{})}
	go func() {
		r.err = s.Serve(ctx)
		close(r.ended)
	}()
	r.stop = sync.OnceValue(func() error {
		cancel()
		<-r.ended
		return r.err
	})
	return r
}

// reopen stops the store and opens its folder again.
func (r *running) reopen(t testing.TB, o Options) *running {
	t.Helper()
	r.stop()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, o)
}

// put appends records and waits for each; any error ends the test.
func (r *running) put(t testing.TB, records ...*store.Record) {
	t.Helper()
	for try := 1; ; try++ {
		late := r.putOnce(t, records)
		if len(late) == 0 {
			return
		}
		if try == 60 {
			t.Fatalf("%d records were refused %d times", len(late), try)
		}
		// A machine that is busy with other tests may not sync in time. What was refused is void: it is said again.
		for _, rec := range late {
			rec.ID, rec.Seq = id.ID{}, 0
		}
		records = late
	}
}

// putOnce appends records and returns those that were refused for the moment.
func (r *running) putOnce(t testing.TB, records []*store.Record) (late []*store.Record) {
	t.Helper()
	type answer struct {
		rec *store.Record
		err error
	}
	results := make(chan answer, len(records))
	for _, rec := range records {
		sent := *rec
		r.Log().Append(&sent, func(err error) {
			if err == nil {
				*rec = sent
			}
			results <- answer{rec, err}
		})
	}
	for range records {
		switch a := receive(t, results); {
		case errors.Is(a.err, store.ErrUnavailable):
			late = append(late, a.rec)
		case a.err != nil:
			t.Fatal(a.err)
		}
	}
	return late
}

// indexed waits until the index has the whole log.
func (r *running) indexed(t testing.TB) {
	t.Helper()
	done := make(chan struct{})
	r.Index().WaitFor(r.Log().Head(), func() { close(done) })
	receive(t, done)
}

// patience is how long a test waits for what must happen. It matters only to tests that fail.
const patience = time.Minute

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v in vain", patience)
		panic("unreachable")
	}
}

// message is a message as the message service appends it.
func message(from, to, text string) *store.Record {
	return &store.Record{Kind: store.KindMessage, From: from, To: to, Device: "plain", ContentType: "text/plain", Body: []byte(text),
		Meta: map[string]string{store.MetaCallID: "a84b4c76e66710@client", store.MetaFromTag: "1928301774", store.MetaCSeq: "314159",
			store.MetaVia: "sip"}}
}

// texts are the bodies of records, for comparing.
func texts(records []store.Record) string {
	var list []string
	for _, r := range records {
		list = append(list, string(r.Body))
	}
	return strings.Join(list, " | ")
}
