package sqlstore

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// BenchmarkAppend measures records with 400-byte bodies, appended by many who each wait for theirs. It reports records a
// second, CPU seconds of the process for 10,000 records, and the mean wait. Index says whether the indexer ran, and had
// caught up when the clock stopped.
func BenchmarkAppend(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		for _, waiters := range []int{1, 64, 256} {
			for _, indexed := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/waiters=%d/index=%t", database, waiters, indexed), func(b *testing.B) {
					o := Options{Dir: b.TempDir(), Log: testLog(b)}
					if database == "postgres" {
						o = postgresOptions(b)
						o.Log = nil
					}
					s, err := Open(b.Context(), o)
					if err != nil {
						b.Fatal(err)
					}
					if !indexed {
						s.index.position.Store(1 << 60)
					}
					r := serve(s)
					defer func() { r.stop(); s.Close() }()
					benchmarkAppend(b, r, waiters, indexed)
				})
			}
		}
	}
}

func benchmarkAppend(b *testing.B, r *running, waiters int, indexed bool) {
	text := []byte(strings.Repeat("a body of four hundred bytes, in words ", 11)[:400])
	var left, waited atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	cpu := cpuTime()
	var wg sync.WaitGroup
	for w := range waiters {
		wg.Add(1)
		from, to := fmt.Sprintf("user%d@example.com", w), fmt.Sprintf("user%d@example.com", w+1)
		var next func()
		var start time.Time
		next = func() {
			if left.Add(-1) < 0 {
				wg.Done()
				return
			}
			m := message(from, to, "")
			m.Body = text
			start = time.Now()
			r.Log().Append(m, func(err error) {
				if err != nil {
					b.Error(err)
				}
				waited.Add(int64(time.Since(start)))
				next()
			})
		}
		next()
	}
	wg.Wait()
	elapsed := b.Elapsed()
	if indexed {
		r.indexed(b)
		b.ReportMetric(float64(b.Elapsed()-elapsed)/1e6, "index-ms-behind")
	}
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric(n/elapsed.Seconds(), "records/s")
	b.ReportMetric((cpuTime()-cpu).Seconds()*10000/n, "cpu-s/10k")
	b.ReportMetric(float64(waited.Load())/n/1e6, "wait-ms")
	b.ReportMetric(0, "ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPaced appends 10,000 messages a second, each followed by the record of its delivery, as a busy server does, and
// reports the CPU seconds for 10,000 messages with everything: committing, indexing, callbacks.
func BenchmarkPaced(b *testing.B) {
	s, err := Open(b.Context(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	r := serve(s)
	defer func() { r.stop(); s.Close() }()
	const burst = 50
	ticker := time.NewTicker(burst * time.Second / 10_000)
	defer ticker.Stop()
	var waiting sync.WaitGroup
	var waited atomic.Int64
	b.ResetTimer()
	cpu := cpuTime()
	for sent := 0; sent < b.N; sent++ {
		if sent%burst == 0 {
			<-ticker.C
		}
		u := (sent * 7919) % 1000
		m := message(fmt.Sprintf("user%d@example.com", u), fmt.Sprintf("user%d@example.com", (u*31+sent)%1000), "")
		m.Body = []byte(strings.Repeat(fmt.Sprintf("a body of four hundred bytes, in words %d ", sent), 11)[:400])
		waiting.Add(2)
		start := time.Now()
		r.Log().Append(m, func(err error) {
			if err != nil {
				b.Error(err)
			}
			waited.Add(int64(time.Since(start)))
			waiting.Done()
			r.Log().Append(&store.Record{Kind: store.KindDelivery, From: m.From, To: m.To, Device: "plain", Ref: m.ID,
				Meta: map[string]string{store.MetaOutcome: store.OutcomeDelivered, store.MetaStatus: "200"}}, func(error) { waiting.Done() })
		})
	}
	waiting.Wait()
	behind := time.Now()
	r.indexed(b)
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric(float64(time.Since(behind))/1e6, "index-ms-behind")
	b.ReportMetric((cpuTime()-cpu).Seconds()*10000/n, "cpu-s/10k")
	b.ReportMetric(float64(waited.Load())/n/1e6, "wait-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIndex indexes messages, each followed by the record of its delivery, as many at a time as a busy server collects, and
// reports the CPU seconds for 10,000 messages: between so many pairs of people.
func BenchmarkIndex(b *testing.B) {
	for _, pairs := range []int{100, 1000, 100_000} {
		b.Run(fmt.Sprintf("pairs=%d", pairs), func(b *testing.B) {
			s, err := Open(b.Context(), Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			const batch = 3000
			var used time.Duration
			var seq int64
			for sent := 0; sent < b.N; {
				var records []*store.Record
				for ; len(records) < 2*batch; sent++ {
					pair := int(uint32(sent)*2654435761>>8) % pairs
					m := message(fmt.Sprintf("user%d@example.com", pair%3000), fmt.Sprintf("user%d@example.com", pair/2+1), "")
					m.Body = []byte(strings.Repeat(fmt.Sprintf("a body of two hundred bytes, in words %d ", sent), 11)[:200])
					m.ID, m.Seq = id.New(), seq+1
					d := &store.Record{Kind: store.KindDelivery, From: m.From, To: m.To, Device: "plain", Ref: m.ID, Seq: seq + 2,
						Meta: map[string]string{store.MetaOutcome: store.OutcomeDelivered, store.MetaStatus: "200"}}
					seq += 2
					records = append(records, m, d)
				}
				cpu := cpuTime()
				s.recent.add(records)
				s.log.Observe(seq)
				if err := s.index.catchUp(b.Context()); err != nil {
					b.Fatal(err)
				}
				used += cpuTime() - cpu
			}
			b.ReportMetric(used.Seconds()*10000/float64(seq/2), "cpu-s/10k")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkTalks lists the 50 newest conversations of somebody who has so many, with the number of what is not read in each.
func BenchmarkTalks(b *testing.B) {
	for _, talks := range []int{50, 500, 20_000} {
		for _, database := range []string{"sqlite", "postgres"} {
			b.Run(fmt.Sprintf("%s/talks=%d", database, talks), func(b *testing.B) {
				o := Options{Dir: b.TempDir()}
				if database == "postgres" {
					o = postgresOptions(b)
					o.Log = nil
				}
				r := open(b, o)
				for i := 0; i < 2*talks; i += 1000 {
					var records []*store.Record
					for j := range min(1000, 2*talks-i) {
						records = append(records, message(fmt.Sprintf("user%d@example.com", (i+j)%talks), "alice@example.com", "text"))
					}
					r.put(b, records...)
				}
				r.indexed(b)
				for b.Loop() {
					list, err := r.Talks().Talks(b.Context(), "alice@example.com", 0, 50)
					if err != nil || len(list) != 50 {
						b.Fatal(len(list), err)
					}
					for _, t := range list {
						if n, err := r.Talks().Unread(b.Context(), t, 100); err != nil || n != 2 {
							b.Fatal(n, err)
						}
					}
				}
			})
		}
	}
}

// BenchmarkOpen opens a store with 100,000 users and as many messages, and reads what a server reads at its start.
func BenchmarkOpen(b *testing.B) {
	o := Options{Dir: b.TempDir()}
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	r := serve(s)
	users := make([]store.User, 100_000)
	bindings := make([]store.Binding, len(users))
	for i := range users {
		aor := fmt.Sprintf("user%d@example.com", i)
		users[i] = store.User{AOR: aor, Password: strings.Repeat("p", 97), HA1MD5: make([]byte, 60), HA1SHA256: make([]byte, 76)}
		bindings[i] = store.Binding{AOR: aor, Key: "k", Contact: "sip:" + aor, Expires: time.Now()}
	}
	if err := s.Users().AddUsers(b.Context(), users); err != nil {
		b.Fatal(err)
	}
	if err := s.Bindings().SaveBindings(b.Context(), bindings[:10_000], nil); err != nil {
		b.Fatal(err)
	}
	for range 100 {
		records := make([]*store.Record, 1000)
		for i := range records {
			records[i] = message(users[i].AOR, users[i+1].AOR, strings.Repeat("text ", 80))
		}
		r.put(b, records...)
	}
	r.indexed(b)
	r.stop()
	s.Close()
	var open, tail, load time.Duration
	for b.Loop() {
		start := time.Now()
		s, err := Open(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		open += time.Since(start)
		start = time.Now()
		if _, err := s.Bindings().LoadBindings(b.Context()); err != nil {
			b.Fatal(err)
		}
		load += time.Since(start)
		start = time.Now()
		n := 0
		if err := s.Log().Tail(b.Context(), time.Now().Add(-24*time.Hour), func(*store.Record) error { n++; return nil }); err != nil || n != 100_000 {
			b.Fatal(n, err)
		}
		tail += time.Since(start)
		s.Close()
	}
	b.ReportMetric(float64(open.Milliseconds())/float64(b.N), "open-ms")
	b.ReportMetric(float64(load.Milliseconds())/float64(b.N), "10k-bindings-ms")
	b.ReportMetric(float64(tail.Milliseconds())/float64(b.N), "100k-tail-ms")
}
