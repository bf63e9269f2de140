package bus

import (
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaver{m}) }

// leaver gives what is ending at the end of the tests as long as it needs: goleak alone waits half a second.
type leaver struct{ *testing.M }

func (l leaver) Run() int {
	code := l.M.Run()
	for end := time.Now().Add(time.Minute); code == 0 && goleak.Find() != nil && time.Now().Before(end); {
		runtime.Gosched()
	}
	return code
}

func TestPublishSubscribe(t *testing.T) {
	b, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := make(chan UserChanged, 4)
	cancel, err := Subscribe(b, func(e UserChanged) { got <- e })
	if err != nil {
		t.Fatal(err)
	}
	Publish(b, UserChanged{AOR: "alice@example.com", Kind: "disabled"})
	Publish(b, UserChanged{AOR: "bob@example.com", Kind: "removed"})
	for _, want := range []string{"alice@example.com", "bob@example.com"} {
		select {
		case e := <-got:
			if e.AOR != want {
				t.Errorf("got %+v, want %s", e, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("no event")
		}
	}
	cancel()
	Publish(b, UserChanged{AOR: "carol@example.com"})
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Errorf("an event came after cancel: %+v", <-got)
	}
}

// A malformed event, from a node of another version, must not reach the handler nor stop it.
func TestMalformedEvent(t *testing.T) {
	b, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := make(chan UserChanged, 1)
	if _, err := Subscribe(b, func(e UserChanged) { got <- e }); err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Publish(subject(UserChanged{}), []byte("{")); err != nil {
		t.Fatal(err)
	}
	Publish(b, UserChanged{AOR: "alice@example.com"})
	select {
	case e := <-got:
		if e.AOR != "alice@example.com" {
			t.Errorf("got %+v", e)
		}
	case <-time.After(time.Minute):
		t.Fatal("the handler stopped")
	}
}
