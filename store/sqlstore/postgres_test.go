package sqlstore

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/store"
)

// proxy stands between the store and PostgreSQL and can hold or cut the line.
type proxy struct {
	l      net.Listener
	server string

	mu    sync.Mutex
	cond  *sync.Cond
	held  bool // answers do not come back, and no new connection gets through
	stuck int  // answers that are held
	conns []net.Conn
}

// behindProxy makes options whose server is reached through a proxy.
func behindProxy(t *testing.T) (Options, *proxy) {
	t.Helper()
	o := postgresOptions(t)
	u, err := url.Parse(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, server: u.Host}
	p.cond = sync.NewCond(&p.mu)
	u.Host = l.Addr().String()
	o.URL = u.String()
	t.Cleanup(func() { l.Close(); p.hold(false); p.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.carry(c)
		}
	}()
	return o, p
}

func (p *proxy) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	go func() {
		defer server.Close()
		io.Copy(server, client)
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.stuck++
		p.cond.Broadcast()
		for p.held {
			p.cond.Wait()
		}
		p.stuck--
		p.mu.Unlock()
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// hold keeps answers back: what is asked is done, but nobody hears of it.
func (p *proxy) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = on
	p.cond.Broadcast()
}

// awaitAnswer waits until an answer is held: something was done that nobody has heard of.
func (p *proxy) awaitAnswer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stuck == 0 {
		p.cond.Wait()
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// TestPostgresCut: connections break at any moment under load; acknowledged records are there once, refused ones are not.
func TestPostgresCut(t *testing.T) {
	t.Parallel()
	o, p := behindProxy(t)
	o.patience = promised
	r := open(t, o)
	var mu sync.Mutex
	outcome := make(map[string]error)
	stop, acked := make(chan struct{}), make(chan struct{}, 1<<20)
	var senders sync.WaitGroup
	for i := range 16 {
		senders.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				text, done := fmt.Sprintf("%d.%d", i, n), make(chan error, 1)
				r.Log().Append(message("a@x", "b@x", text), func(err error) { done <- err })
				err := <-done
				mu.Lock()
				outcome[text] = err
				mu.Unlock()
				if err == nil {
					acked <- struct{}{}
				}
			}
		})
	}
	for range 12 {
		for range 100 { // load between two cuts
			receive(t, acked)
		}
		p.hold(true)
		p.awaitAnswer() // a commit, or a page of a reader, happened unheard
		p.cut()
		p.hold(false)
	}
	close(stop)
	senders.Wait()
	r.recovered(t, "last")
	delete(outcome, "last")
	seen := make(map[string]int)
	for after, broken := int64(0), 0; ; {
		page, err := r.Log().Read(t.Context(), after, 1000)
		if err != nil && broken < 20 {
			broken++ // connections of the pool that were cut while they read show it now
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, rec := range page {
			seen[string(rec.Body)]++
			after = rec.Seq
		}
	}
	kept := 0
	for text, err := range outcome {
		want := 0
		if err == nil {
			want = 1
			kept++
		}
		if seen[text] != want {
			t.Errorf("record %s (%v) is in the log %d times", text, err, seen[text])
		}
	}
	t.Logf("%d acknowledged, %d refused", kept, len(outcome)-kept)
}

// TestPostgresHangs: the answer to a commit does not come. Its sender is refused in time; what landed is voided when the
// server is heard again.
func TestPostgresHangs(t *testing.T) {
	t.Parallel()
	o, p := behindProxy(t)
	o.patience = promised
	r := open(t, o)
	r.put(t, message("a@x", "b@x", "before"))
	p.hold(true)
	for _, got := range r.tryPut(t, message("a@x", "b@x", "unheard"), message("a@x", "b@x", "waits")) {
		if !errors.Is(got.err, store.ErrUnavailable) {
			t.Errorf("%s: %v", got.rec.Body, got.err)
		}
	}
	p.hold(false)
	r.recovered(t, "after")
	if got := r.bodies(t); got != "before | after" {
		t.Errorf("readers see %s", got)
	}
}

// TestPostgresHangsForLong: the server is not heard for longer than the connection is kept.
func TestPostgresHangsForLong(t *testing.T) {
	t.Parallel()
	o, p := behindProxy(t)
	o.patience = promised
	r := open(t, o)
	r.put(t, message("a@x", "b@x", "before"))
	p.hold(true)
	for start := time.Now(); time.Since(start) < postgresAnswer+time.Second; {
		r.refused(t, "unheard")
	}
	p.hold(false)
	r.recovered(t, "after")
	if got := r.bodies(t); got != "before | after" {
		t.Errorf("readers see %s", got)
	}
	if got := r.reopen(t, o).bodies(t); got != "before | after" {
		t.Errorf("after a restart readers see %s", got)
	}
}

// TestPostgresNodes: two nodes append to one log. A reader with a cursor misses nothing, whenever it looks; each node's
// indexer may do the work.
func TestPostgresNodes(t *testing.T) {
	t.Parallel()
	o := postgresOptions(t)
	nodes := []*running{open(t, o)}
	o.Dir = t.TempDir()
	nodes = append(nodes, open(t, o))
	const senders, each = 8, 150
	var writers sync.WaitGroup
	for n, node := range nodes {
		for i := range senders {
			writers.Go(func() {
				for k := range each {
					done := make(chan error, 1)
					node.Log().Append(message("a@x", "b@x", fmt.Sprintf("%d.%d.%d", n, i, k)), func(err error) { done <- err })
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	finished := make(chan struct{})
	go func() { writers.Wait(); close(finished) }()
	seen := make(map[string]bool)
	after := int64(0)
	read := func(node *running) (n int) {
		page, err := node.Log().Read(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page {
			if rec.Seq <= after || seen[string(rec.Body)] {
				t.Fatalf("record %d again", rec.Seq)
			}
			after = rec.Seq
			seen[string(rec.Body)] = true
		}
		return len(page)
	}
	for running := true; running; {
		select {
		case <-finished:
			running = false
		default:
			read(nodes[0])
		}
	}
	const all = 2 * senders * each
	for start := time.Now(); len(seen) < all && time.Since(start) < patience; {
		read(nodes[0])
		read(nodes[1])
	}
	if len(seen) != all {
		t.Errorf("the reader saw %d of %d records", len(seen), all)
	}
	for _, node := range nodes {
		node.indexed(t)
		box, err := node.Index().Mailbox(t.Context(), "b@x", 0, 1000)
		if err != nil || len(box) != 1000 {
			t.Errorf("%d in the mailbox, %v", len(box), err)
		}
	}
}

// TestPostgresIndexBegunAnew: when one node begins the index anew, another that is ahead does not go on behind a gap.
func TestPostgresIndexBegunAnew(t *testing.T) {
	t.Parallel()
	o := postgresOptions(t)
	r := open(t, o)
	r.put(t, message("a@x", "b@x", "one"), message("a@x", "b@x", "two"))
	r.indexed(t)
	cfg, err := postgresConfig(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	other := &postgresIndex{postgresPool(cfg, 1, time.Minute)}
	defer other.close()
	if err := other.clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.put(t, message("a@x", "b@x", "three"))
	r.indexed(t)
	box, err := r.Index().Mailbox(t.Context(), "b@x", 0, 10)
	talks, err2 := r.Talks().Talks(t.Context(), "b@x", 0, 10)
	if texts(box) != "one | two | three" || len(talks) != 1 || err != nil || err2 != nil {
		t.Errorf("mailbox %s, talks %v, %v, %v", texts(box), talks, err, err2)
	}
}
