package test

import (
	"database/sql"
	"flag"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"

	"github.com/parley-im/parley/config"
)

func TestMain(m *testing.M) {
	ServeIfAsked()
	flag.Parse()
	if given := slices.ContainsFunc(os.Args, func(a string) bool { return strings.Contains(a, "test.parallel") }); !given {
		// They wait more than they compute.
		if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(leaver{m}, goleak.Cleanup(func(status int) {
		removeBinary()
		os.Exit(status)
	}))
}

// leaver gives what is ending at the end of the tests as long as it needs: goleak alone waits half a second.
type leaver struct{ *testing.M }

func (l leaver) Run() int {
	code := l.M.Run()
	for end := time.Now().Add(Patience); code == 0 && goleak.Find() != nil && time.Now().Before(end); {
		runtime.Gosched()
	}
	return code
}

// onEach runs a test on SQLite, and on PostgreSQL when PARLEY_TEST_POSTGRES names a server, in a schema of its own.
func onEach(t *testing.T, test func(t *testing.T, store Edit)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, func(*config.Config) {})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := postgres(t)
		test(t, func(c *config.Config) { c.Store.URL = url })
	})
}

var schemas atomic.Int64

// postgres makes a schema for the test and returns its address.
func postgres(t *testing.T) string {
	t.Helper()
	server := os.Getenv("PARLEY_TEST_POSTGRES")
	if server == "" {
		t.Skip("not tested on PostgreSQL: set PARLEY_TEST_POSTGRES=postgres://user@host:port/database")
	}
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("whole%d_%d", os.Getpid(), schemas.Add(1))
	if _, err := db.Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec("DROP SCHEMA " + name + " CASCADE"); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}
