package test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/transport"
	"github.com/parley-im/parley/wire/sip"
)

// The six invariants of docs/architecture.md (design.md §2), each against a whole server.

// lockLog keeps everybody from writing to the log until release is called.
func lockLog(t *testing.T, s *Server) (release func()) {
	t.Helper()
	driver, address, lock := "sqlite", "file:"+filepath.Join(s.Config.Data, "log.db"), []string{"PRAGMA busy_timeout=10000", "BEGIN IMMEDIATE"}
	if s.Config.Store.URL != "" {
		driver, address, lock = "pgx", s.Config.Store.URL, []string{"BEGIN", "LOCK TABLE log IN EXCLUSIVE MODE"}
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range lock {
		if _, err := c.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	release = sync.OnceFunc(func() {
		if _, err := c.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Errorf("releasing the log: %v", err)
		}
		c.Close()
		db.Close()
	})
	t.Cleanup(release)
	return release
}

// refusedSoon wants a refusal with Retry-After and words in less than a second.
func refusedSoon(t *testing.T, u *UA, d *sip.Draft) {
	t.Helper()
	start := time.Now()
	u.Write(d.Bytes())
	m := u.Final(d)
	took := time.Since(start)
	if m.Status() != 500 || !m.Has(sip.HRetryAfter) || !strings.Contains(m.Get(sip.HWarning), "could not be recorded") {
		t.Errorf("%s, Retry-After %q, want 500 with both", Line(m), m.Get(sip.HRetryAfter))
	}
	if took > Patience/2 { // a second is promised; a machine that runs other tests beside may need longer, but nothing else ends the wait
		t.Errorf("refused after %v", took)
	}
}

// Invariants 1, 2 and 6: while nothing can be recorded nothing is delivered, the sender is told within a second, and what
// was refused is not delivered later.
func TestRecordedBeforeDelivered(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, store Edit) {
		s := Start(t, store)
		alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
		dlg, _ := newCall(t, alice, bob)
		exchange(t, alice, bob, "before")
		release := lockLog(t, s)
		refusedSoon(t, alice, alice.MessageRequest("bob", "while it is locked"))
		refusedSoon(t, alice, alice.MessageRequest("carol", "to somebody away"))
		refusedSoon(t, alice, alice.InDialog(dlg, sip.MESSAGE).Body("text/plain", []byte("inside the session")))
		call := alice.Request(sip.INVITE, "bob").Add(sip.HContact, alice.Contact)
		refusedSoon(t, alice, call)
		req, _ := call.Message() // our own
		alice.Write(ackFor(req, alice.lastRefusal(req)).Bytes())
		bob.Silent(sip.MESSAGE)
		bob.Silent(sip.INVITE)
		// A typing notice is not recorded, so it passes.
		typing := alice.Request(sip.MESSAGE, "bob").Body("application/im-iscomposing+xml",
			[]byte(`<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`))
		if m := alice.Ask(typing); m.Status() != 200 {
			t.Errorf("typing: %s", Line(m))
		}
		bob.Reply(bob.Expect(sip.MESSAGE), 200)
		release()
		// As soon as the log can be written again, so can the next; the ones between are gone for good.
		Eventually(t, "the log can be written again", func() bool { return Passes(alice, bob, "after") })
		bob.Silent(sip.MESSAGE)
		for _, text := range s.Texts("alice", "bob") {
			if text != "before" && text != "after" {
				t.Errorf("the log has %q", text)
			}
		}
		carol := s.SignedIn("carol", transport.TCP)
		alice.Write(alice.MessageRequest("carol", "now").Bytes())
		carol.Hears("now")
	})
}

// lastRefusal makes the answer that an ACK belongs to: the ACK needs no more of it than To.
func (u *UA) lastRefusal(req *sip.Message) *sip.Message {
	m, _ := sip.NewResponse(req, 500, "").Message() // from a request of ours
	return m
}

// Invariants 1 and 2 with a file that cannot grow, as on a full disk.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := StartProcess(t)
	alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
	exchange(t, alice, bob, "before")
	var was unix.Rlimit
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Prlimit(s.pid(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: was.Max}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Prlimit(s.pid(), unix.RLIMIT_FSIZE, nil, &was); err != nil {
		t.Fatal(err)
	}
	limit(0)
	refusedSoon(t, alice, alice.MessageRequest("bob", "on a full disk"))
	bob.Silent(sip.MESSAGE)
	if status, _ := s.Get("/health"); status != 200 {
		t.Errorf("/health: %d", status)
	}
	limit(was.Cur)
	Eventually(t, "messages pass again", func() bool { return Passes(alice, bob, "after") })
	s.Eventually("ready again", func() bool { status, _ := s.Get("/ready"); return status == 200 })
	if slices.Contains(s.Texts("alice", "bob"), "on a full disk") {
		t.Error("what was refused is in the log")
	}
}

// Invariant 3: who was away gets it on each device when it returns, with the time at which it was said; what was not
// answered comes again with the same Call-ID, across kill -9.
func TestRedelivery(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, store Edit) {
		s := StartProcess(t, store, SamePorts(t))
		phone, laptop := s.UA("bob1", transport.TCP).Instance("phone"), s.UA("bob2", transport.TLS).Instance("laptop")
		phone.Register()
		laptop.Register()
		alice := s.SignedIn("alice", transport.TCP)
		alice.Write(alice.MessageRequest("bob", "hello").Bytes())
		phone.Hears("hello")
		laptop.Hears("hello")
		phone.Close()
		laptop.Close()
		s.Eventually("bob is away", func() bool { return s.Status().SignedIn == 1 })
		said := time.Now()
		for i := range 3 {
			alice.Says("bob", fmt.Sprintf("while you were away %d", i), 202)
		}
		until := time.Now()

		s.Kill()
		s.Again()
		phone = s.UA("bob1", transport.TCP).Instance("phone")
		phone.Register()
		first := phone.Expect(sip.MESSAGE)
		if string(first.Body()) != "while you were away 0" {
			t.Fatalf("the phone got %q", first.Body())
		}
		if date, err := time.Parse(time.RFC1123, first.Get(sip.HDate)); err != nil || date.Before(said.Truncate(time.Second)) || date.After(until) {
			t.Errorf("Date %q, said at %v", first.Get(sip.HDate), said)
		}
		phone.Silent(sip.MESSAGE) // one at a time: this one was not answered

		s.Kill()
		s.Again()
		phone = s.UA("bob1", transport.TCP).Instance("phone")
		phone.Register()
		again := phone.Expect(sip.MESSAGE)
		if again.CallID() != first.CallID() || again.FromTag() != first.FromTag() || string(again.Body()) != string(first.Body()) || again.Get(sip.HDate) != first.Get(sip.HDate) {
			t.Errorf("again:\n%s\nfirst:\n%s", again.Bytes(), first.Bytes())
		}
		phone.Reply(again, 200)
		phone.Hears("while you were away 1")
		phone.Hears("while you were away 2")

		laptop = s.UA("bob2", transport.TLS).Instance("laptop")
		laptop.Register()
		for i := range 3 {
			laptop.Hears(fmt.Sprintf("while you were away %d", i))
		}
		// All of it is settled, and said so in the log.
		s.Eventually("eight deliveries in the log", func() bool {
			n := 0
			for _, r := range s.Records("delivery") {
				if r.Meta["outcome"] == "delivered" && r.To == AOR("bob") {
					n++
				}
			}
			return n == 8
		})
		s.Kill()
		s.Again()
		phone = s.UA("bob1", transport.TCP).Instance("phone")
		phone.Register()
		alice = s.SignedIn("alice", transport.TCP)
		alice.Write(alice.MessageRequest("bob", "the next").Bytes())
		phone.Hears("the next")
	})
}

// Invariants 1 and 2 under kill -9 while messages flow: what was acknowledged and what was delivered is in the log.
func TestKilledWhileTalking(t *testing.T) {
	t.Parallel()
	s := StartProcess(t, SamePorts(t))
	all := 0
	for round := range 3 {
		alice, bob := s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
		const window = 200
		said := 0
		say := func() {
			d := alice.MessageRequest("bob", fmt.Sprintf("round %d number %d", round, said))
			d.Set(sip.HCallID, fmt.Sprintf("r%d-%d", round, said))
			alice.Write(d.Bytes())
			said++
		}
		for range window {
			say()
		}
		delivered := map[string]bool{}
		var answers []*sip.Message
		for len(delivered) < 20*(round+1) {
			m, answer := Either(alice, bob, sip.MESSAGE)
			if m != nil {
				delivered[string(m.Body())] = true
				bob.Reply(m, 200)
				continue
			}
			if answers = append(answers, answer); answer.Status() >= 300 {
				say() // a busy machine may have refused many: go on until enough arrive
			}
		}
		s.Kill()
		bob.waitClosed(t) // all that came is here
		alice.waitClosed(t)
		for _, m := range bob.drain() {
			if m.IsRequest() && m.Method() == sip.MESSAGE {
				delivered[string(m.Body())] = true
			}
		}
		acknowledged := map[string]bool{}
		for _, m := range append(answers, alice.drain()...) {
			if s := m.Status(); s >= 200 && s < 300 && m.Method() == sip.MESSAGE {
				var r, n int
				if _, err := fmt.Sscanf(m.CallID(), "r%d-%d", &r, &n); err == nil {
					acknowledged[fmt.Sprintf("round %d number %d", r, n)] = true
				}
			}
		}
		s.Again()
		log := map[string]int{}
		for _, text := range s.Texts("alice", "bob") {
			log[text]++
		}
		for _, said := range []map[string]bool{delivered, acknowledged} {
			for text := range said {
				if log[text] != 1 {
					t.Errorf("%q is in the log %d times", text, log[text])
				}
			}
		}
		// The kill may take the answers of a round with it: a connection with something unread is reset.
		if all += len(acknowledged); round == 2 && all == 0 || len(delivered) < 20 {
			t.Errorf("only %d acknowledged, %d delivered: nothing was tried", all, len(delivered))
		}
		t.Logf("%d in the log, %d acknowledged, %d delivered", len(log), len(acknowledged), len(delivered))
		// What is in the log comes when bob returns, in order; none is left out.
		bob = s.SignedIn("bob", transport.TCP)
		last := -1
		for {
			m := bob.Expect(sip.MESSAGE)
			var r, n int
			if _, err := fmt.Sscanf(string(m.Body()), "round %d number %d", &r, &n); err != nil || r != round || n <= last {
				t.Fatalf("after number %d came %q", last, m.Body())
			}
			last = n
			log[string(m.Body())] = 0
			bob.Reply(m, 200)
			left := 0
			for text, n := range log {
				if n > 0 && strings.HasPrefix(text, fmt.Sprintf("round %d ", round)) && !delivered[text] {
					left++
				}
			}
			if left == 0 {
				break
			}
		}
		bob.SignOut()
		alice.Close()
	}
}

// Invariant 4: one record for what is said once, however often it comes; equal words are no repeat.
func TestRepeats(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, store Edit) {
		s := Start(t, store, SamePorts(t))
		alice, bob := s.SignedIn("alice", transport.UDP), s.SignedIn("bob", transport.TCP)
		tcp := s.SignedIn("alice", transport.TCP)
		answered := func(d *sip.Draft) *sip.Draft {
			t.Helper()
			again, ok := alice.Answered(d, alice.Ask(d))
			if !ok {
				t.Fatal("no challenge")
			}
			return again
		}
		// Retransmissions over UDP, before and after the answer.
		d := answered(alice.MessageRequest("bob", "once"))
		began := time.Now()
		for range 5 {
			alice.Write(d.Bytes())
		}
		bob.Hears("once")
		if m := alice.Final(d); !Taken(m, began) {
			t.Fatal(Line(m))
		}
		alice.Write(d.Bytes())
		s.Eventually("the answer again", func() bool { return alice.Repeats() > 0 })

		// The same again in another transaction, over another transport, and after a restart: RFC 3261's identity.
		same := func() *sip.Draft {
			return tcp.MessageRequest("bob", "twice").Set(sip.HCallID, "twice").Set(sip.HFrom, "<sip:alice@example.com>;tag=twice").Set(sip.HCSeq, "7 MESSAGE")
		}
		first := same()
		tcp.Write(first.Bytes())
		bob.Hears("twice")
		tcp.Final(first)
		if m := tcp.Ask(same()); m.Status() != 200 && m.Status() != 202 {
			t.Errorf("again: %s", Line(m))
		}
		// The same imdn.Message-ID under another Call-ID.
		cpim := func() *sip.Draft {
			return tcp.Request(sip.MESSAGE, "bob").Body("message/cpim", []byte("From: <sip:alice@example.com>\r\nTo: <sip:bob@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\n\r\nContent-Type: text/plain\r\n\r\nin an envelope"))
		}
		first = cpim()
		tcp.Write(first.Bytes())
		bob.Reply(bob.Expect(sip.MESSAGE), 200)
		tcp.Final(first)
		if m := tcp.Ask(cpim()); m.Status() != 200 && m.Status() != 202 {
			t.Errorf("again: %s", Line(m))
		}
		// Equal words, another time.
		for range 2 {
			d := tcp.MessageRequest("bob", "yes")
			tcp.Write(d.Bytes())
			bob.Hears("yes")
			tcp.Final(d)
		}
		// The same Call-ID and CSeq to somebody else, and another CSeq to the same one, are new.
		if m := tcp.Ask(same().SetURI("sip:carol@example.com").Set(sip.HTo, "<sip:carol@example.com>")); m.Status() != 202 {
			t.Errorf("to carol: %s", Line(m))
		}
		next := same().Set(sip.HCSeq, "8 MESSAGE")
		tcp.Write(next.Bytes())
		bob.Hears("twice")
		tcp.Final(next)

		s.Restart()
		tcp, bob = s.SignedIn("alice", transport.TCP), s.SignedIn("bob", transport.TCP)
		for _, d := range []*sip.Draft{same(), cpim()} {
			if m := tcp.Ask(d); m.Status() != 200 && m.Status() != 202 {
				t.Errorf("after a restart: %s", Line(m))
			}
		}
		bob.Silent(sip.MESSAGE)
		var texts []string
		for _, text := range s.Texts("alice", "bob") {
			if _, inside, ok := strings.Cut(text, "text/plain\r\n\r\n"); ok {
				text = inside
			}
			texts = append(texts, text)
		}
		if want := []string{"once", "twice", "in an envelope", "yes", "yes", "twice"}; !slices.Equal(texts, want) {
			t.Errorf("the log has %q, want %q", texts, want)
		}
	})
}

// Invariant 5: devices see the order of the log, also a slow one, one that comes later, and two senders' words.
func TestOrder(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, store Edit) {
		s := Start(t, store)
		const each = 60
		fast, slow := s.UA("bob1", transport.TCP).Instance("fast"), s.UA("bob2", transport.WS).Instance("slow")
		fast.Register()
		slow.Register()
		late := s.UA("bob3", transport.TLS).Instance("late")
		late.Register()
		late.SignOut() // known, and away
		var wg sync.WaitGroup
		for _, name := range []string{"alice", "carol"} {
			u := s.SignedIn(name, transport.TCP)
			wg.Go(func() {
				for i := range each {
					d := u.MessageRequest("bob", fmt.Sprintf("%s %d", name, i))
					if err := u.TryWrite(d.Bytes()); err != nil {
						t.Error(err)
					}
				}
				for range each {
					if m, err := u.Find(Patience, final); err != nil || m.Status() >= 300 {
						t.Errorf("%s: %v %v", name, m, err)
						return
					}
				}
			})
		}
		heard := func(u *UA) (list []string) {
			t.Helper()
			for range 2 * each {
				m := u.Expect(sip.MESSAGE)
				list = append(list, string(m.Body()))
				u.Reply(m, 200)
			}
			return list
		}
		one := heard(fast)
		two := heard(slow)
		wg.Wait()
		late.Register()
		three := heard(late)
		var log []string
		for _, r := range s.Records("message") {
			log = append(log, string(r.Body))
		}
		for name, list := range map[string][]string{"fast": one, "slow": two, "late": three} {
			if !slices.Equal(list, log) {
				t.Errorf("%s heard\n%q\nthe log has\n%q", name, list, log)
			}
		}
		for _, name := range []string{"alice", "carol"} {
			next := 0
			for _, text := range log {
				if text == fmt.Sprintf("%s %d", name, next) {
					next++
				}
			}
			if next != each {
				t.Errorf("%s's words are not in the order in which they were said", name)
			}
		}
	})
}

// Invariant 3: what one device refuses, or does not answer, holds up neither the next message nor another device.
func TestRefusalBlocksNobody(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, store Edit) {
		s := Start(t, store)
		alice := s.SignedIn("alice", transport.TCP)
		one, two := s.UA("bob1", transport.TCP).Instance("one"), s.UA("bob2", transport.TCP).Instance("two")
		one.Register()
		two.Register()
		began := time.Now()
		d := alice.Request(sip.MESSAGE, "bob").Body("application/x-strange", []byte("1"))
		alice.Write(d.Bytes())
		one.Reply(one.Expect(sip.MESSAGE), 415)
		two.Reply(two.Expect(sip.MESSAGE), 200)
		if m := alice.Final(d); !Taken(m, began) {
			t.Errorf("refused by one, taken by the other: %s", Line(m))
		}
		d = alice.MessageRequest("bob", "the next")
		alice.Write(d.Bytes())
		one.Hears("the next")
		two.Hears("the next")
		alice.Final(d)
		// One falls silent: the other gets all, the sender its answer; then it returns and gets what it missed.
		began = time.Now()
		d = alice.MessageRequest("bob", "first unanswered")
		alice.Write(d.Bytes())
		one.Expect(sip.MESSAGE)
		two.Hears("first unanswered")
		if m := alice.Final(d); !Taken(m, began) {
			t.Error(Line(m))
		}
		for i := range 5 {
			began := time.Now()
			d := alice.MessageRequest("bob", fmt.Sprintf("more %d", i))
			alice.Write(d.Bytes())
			two.Hears(fmt.Sprintf("more %d", i))
			if m := alice.Final(d); !Taken(m, began) {
				t.Error(Line(m))
			}
		}
		one.Close()
		one = s.UA("bob1", transport.TCP).Instance("one")
		one.Register()
		one.Hears("first unanswered")
		for i := range 5 {
			one.Hears(fmt.Sprintf("more %d", i))
		}
		s.Eventually("a refusal in the log", func() bool {
			return slices.ContainsFunc(s.Records("delivery"), recordWith("outcome", "refused"))
		})
	})
}

func recordWith(key, value string) func(*v1.Record) bool {
	return func(r *v1.Record) bool { return r.Meta[key] == value }
}

// A new device gets what no device took, and not the history (design.md §2).
func TestNewDevice(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, store Edit) {
		s := Start(t, store)
		alice := s.SignedIn("alice", transport.TCP)
		old := s.UA("bob1", transport.TCP).Instance("old")
		old.Register()
		alice.Write(alice.MessageRequest("bob", "history").Bytes())
		old.Hears("history")
		alice.Wait("200", final)
		old.SignOut()
		alice.Says("bob", "nobody took this", 202)
		fresh := s.UA("bob2", transport.TCP).Instance("fresh")
		fresh.Register()
		fresh.Hears("nobody took this")
		fresh.Silent(sip.MESSAGE)
		// The next new one gets nothing, as a device took it; the old one still does.
		third := s.UA("bob3", transport.TCP).Instance("third")
		third.Register()
		third.Silent(sip.MESSAGE)
		old.Register()
		old.Hears("nobody took this")
		alice.Write(alice.MessageRequest("bob", "to all").Bytes())
		for _, u := range []*UA{old, fresh, third} {
			u.Hears("to all")
		}
	})
}
