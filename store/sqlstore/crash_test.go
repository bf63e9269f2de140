package sqlstore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
)

// crashEnv makes the test binary a server that is going to be killed.
const crashEnv = "PARLEY_TEST_CRASH_CHILD"

// crashChild tells the child what to do.
type crashChild struct {
	Dir, URL string
	AckFirst bool // the control: says that a record is durable before it is
}

func TestMain(m *testing.M) {
	if text := os.Getenv(crashEnv); text != "" {
		var c crashChild
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			panic(err)
		}
		c.run()
	}
	os.Exit(m.Run())
}

// run appends from 32 senders until it is killed. It prints "+ id" for what is acknowledged and "- id" for what is refused.
func (c crashChild) run() {
	s, err := Open(context.Background(), Options{Dir: c.Dir, URL: c.URL})
	if err != nil {
		fmt.Println("! " + err.Error())
		os.Exit(1)
	}
	go s.Serve(context.Background())
	var mu sync.Mutex
	say := func(mark string, d id.ID) {
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.WriteString(mark + " " + d.String() + "\n")
	}
	for i := range 32 {
		var next func()
		next = func() {
			m := message(fmt.Sprintf("user%d@x", i), "b@x", strings.Repeat("text ", 80))
			m.ID = id.New()
			if c.AckFirst {
				say("+", m.ID)
			}
			s.Log().Append(m, func(err error) {
				if err != nil {
					say("-", m.ID)
				} else if !c.AckFirst {
					say("+", m.ID)
				}
				next()
			})
		}
		next()
	}
	select {}
}

// kill runs a child and kills it after a while. It returns what the child said.
func (c crashChild) kill(t *testing.T, after time.Duration) (acked, refused map[id.ID]bool) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked, refused = make(map[id.ID]bool), make(map[id.ID]bool)
	kill := sync.OnceFunc(func() { time.AfterFunc(after, func() { cmd.Process.Kill() }) })
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		mark, rest, _ := strings.Cut(lines.Text(), " ")
		if mark == "!" {
			t.Error("the child:", rest)
			break
		}
		d, err := id.Parse(rest)
		if err != nil {
			continue // cut off by the kill
		}
		kill() // the clock runs from the first answer
		if mark == "+" {
			acked[d] = true
		} else {
			refused[d] = true
		}
	}
	cmd.Wait()
	return acked, refused
}

// TestKill kills a server under load again and again: what was acknowledged is there once, what was refused is not, the
// index finds it all. The control acknowledges before it records, and must be caught.
func TestKill(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	onEach(t, func(t *testing.T, o Options) {
		acked, refused := make(map[id.ID]bool), make(map[id.ID]bool)
		for range rounds {
			a, r := crashChild{Dir: o.Dir, URL: o.URL}.kill(t, time.Duration(rand.IntN(300))*time.Millisecond)
			for d := range a {
				acked[d] = true
			}
			for d := range r {
				refused[d] = true
			}
			if lost, risen := missing(t, o, acked, refused); lost > 0 || risen > 0 {
				t.Fatalf("of %d acknowledged records %d are lost, of %d refused %d are there", len(acked), lost, len(refused), risen)
			}
		}
		if len(acked) == 0 {
			t.Fatal("nothing was acknowledged, so nothing was tested")
		}
		t.Logf("%d acknowledged and %d refused in %d rounds", len(acked), len(refused), rounds)
		lost := 0
		for range rounds * 3 { // the control
			a, _ := crashChild{Dir: o.Dir, URL: o.URL, AckFirst: true}.kill(t, time.Duration(rand.IntN(100))*time.Millisecond)
			n, _ := missing(t, o, a, nil)
			if lost += n; lost > 0 {
				break
			}
		}
		if lost == 0 {
			t.Error("a server that acknowledges before it records was not caught")
		}
	})
}

// missing opens the store after a kill and compares.
func missing(t *testing.T, o Options, acked, refused map[id.ID]bool) (lost, risen int) {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := serve(s)
	defer s.Close()
	defer r.stop()
	seen := make(map[id.ID]int64)
	for after := int64(0); ; {
		page, err := s.Log().Read(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			rec := &page[i]
			if rec.Seq <= after || seen[rec.ID] != 0 {
				t.Fatalf("record %s comes twice or out of order", rec.ID)
			}
			after = rec.Seq
			seen[rec.ID] = rec.Seq
			if rec.Sum() != rec.Hash {
				t.Fatalf("record %d does not have its hash", rec.Seq)
			}
			if refused[rec.ID] {
				risen++
			}
		}
	}
	for d := range acked {
		if seen[d] == 0 {
			lost++
		}
	}
	r.indexed(t)
	var boxed int
	for after := int64(0); ; {
		box, err := s.Index().Mailbox(t.Context(), "b@x", after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(box) == 0 {
			break
		}
		boxed += len(box)
		after = box[len(box)-1].Seq
	}
	messages := 0
	err = s.Log().Tail(t.Context(), time.Time{}, func(*store.Record) error { messages++; return nil })
	if err != nil || boxed != messages {
		t.Errorf("%d messages are in the log, %d in the index, %v", messages, boxed, err)
	}
	return lost, risen
}
