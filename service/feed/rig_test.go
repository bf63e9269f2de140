package feed

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

const (
	alice = "alice@example.com"
	bob   = "bob@example.com"
	carol = "carol@example.com"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// rig is a hub over a store.
type rig struct {
	*Hub
	t     testing.TB
	store *sqlstore.Store
	o     Options
	stop  func() // ends the hub

	mu    sync.Mutex // guards what follows
	taken map[string]int64
	took  map[string][]int64 // Seqs, by device
	since int64
}

func newRig(t testing.TB, limits Limits) *rig {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: folder(t), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: st, taken: map[string]int64{}, took: map[string][]int64{}}
	r.o = Options{
		Records: st.Log(), Index: st.Index(), Talks: st.Talks(), Limits: limits, Log: log,
		Since: func(context.Context, string) (int64, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.since, nil
		},
		Taken: func(_ context.Context, aor string) (int64, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.taken[aor], nil
		},
		Took: func(aor, device string, recs []*store.Record) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, x := range recs {
				if x.To != aor {
					t.Errorf("%s took what is to %s", aor, x.To)
				}
				r.took[device] = append(r.took[device], x.Seq)
			}
		},
		Contacts: func(context.Context, string) ([]string, error) { return nil, nil },
		Follow: func(context.Context, string, []string, func(string, any)) (Follower, error) {
			return nobody{}, nil
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := st.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		r.stop()
		cancel()
		served.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	r.start()
	return r
}

// folder is a temporary folder in memory where the system has such a thing: these tests are not about the disk.
func folder(t testing.TB) string {
	if os.Getenv("TMPDIR") == "" {
		if dir, err := os.MkdirTemp("/dev/shm", "parley-feed-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

type nobody struct{}

func (nobody) Add(context.Context, ...string) error { return nil }
func (nobody) Remove(...string)                     {}
func (nobody) Close()                               {}

// start makes a hub and runs it.
func (r *rig) start() {
	h := New(r.o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := h.Serve(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	r.Hub = h
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
}

// put records something and returns its Seq. A machine that is busy may refuse it for the moment.
func (r *rig) put(rec store.Record) (int64, id.ID) {
	r.t.Helper()
	for range 60 {
		own := rec
		done := make(chan error, 1)
		r.store.Log().Append(&own, func(err error) { done <- err })
		if err := <-done; err == nil {
			return own.Seq, own.ID
		}
	}
	r.t.Fatal("the log refuses everything")
	return 0, id.ID{}
}

func (r *rig) say(from, to, text string) (int64, id.ID) {
	r.t.Helper()
	return r.put(store.Record{Kind: store.KindMessage, From: from, To: to, ContentType: "text/plain", Body: []byte(text)})
}

// fate records what became of a message.
func (r *rig) fate(from, to string, about id.ID, seq int64) int64 {
	r.t.Helper()
	at, _ := r.put(store.Record{Kind: store.KindDelivery, From: from, To: to, Device: "plain", Ref: about,
		Meta: map[string]string{store.MetaOutcome: store.OutcomeDelivered, "message_seq": fmt.Sprint(seq)}})
	return at
}

func caller(aor string, n int) Caller {
	return Caller{AOR: aor, Session: fmt.Sprintf("%s-%d", aor, n), Device: fmt.Sprintf("web:%s-%d", aor, n), Kind: "desktop", Label: "test"}
}

func (r *rig) openFrom(c Caller, position int64) *Stream {
	r.t.Helper()
	s, err := r.Open(r.t.Context(), c, Start{Position: position})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.Close)
	return s
}

// next returns the next event that is no Ping.
func (r *rig) next(s *Stream) Event {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for {
		e, err := s.Next(ctx)
		if err != nil {
			r.t.Fatalf("no event: %v", err)
		}
		if e.Kind != Ping {
			return e
		}
	}
}

// want reads events of these kinds and positions.
func (r *rig) want(s *Stream, want ...Event) (got []Event) {
	r.t.Helper()
	for i, w := range want {
		e := r.next(s)
		got = append(got, e)
		if e.Kind != w.Kind || w.Position != 0 && e.Position != w.Position {
			r.t.Fatalf("event %d: got kind %d at %d, want kind %d at %d", i, e.Kind, e.Position, w.Kind, w.Position)
		}
	}
	return got
}

// tookBy waits until a device has taken these.
func (r *rig) tookBy(device string, want ...int64) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r.mu.Lock()
		got := slices.Clone(r.took[device])
		r.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) || len(got) > len(want) {
			r.t.Fatalf("%s took %v, want %v", device, got, want)
		}
		<-time.After(time.Millisecond)
	}
}
