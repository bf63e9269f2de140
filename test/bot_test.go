package test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

// heard counts texts.
type heard struct {
	mu    sync.Mutex // guards what follows
	texts map[string]int
}

func (h *heard) add(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.texts == nil {
		h.texts = map[string]int{}
	}
	h.texts[text]++
}

func (h *heard) copy() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.texts)
}

// listening runs Listen until the test ends, and returns when its stream is there.
func listening(t *testing.T, c *parley.Client, h parley.Handlers) {
	t.Helper()
	ready := make(chan struct{})
	var once sync.Once
	h.Ready = func(*v1.Ready) { once.Do(func() { close(ready) }) }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Listen(ctx, h) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != context.Canceled { //nolint:errorlint // returned as it is
			t.Errorf("%s: listening ended: %v", c.Address(), err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(Patience):
		t.Fatal("the stream was not ready in time")
	}
}

// A bot that answers every message, while the server is stopped and killed under it and under those who write to it: each
// message reaches the bot once, and each answer its receiver once.
func TestBotOverRestarts(t *testing.T) {
	t.Parallel()
	s := StartProcess(t, SamePorts(t))
	ctx, cancel := context.WithTimeout(t.Context(), 4*Patience)
	defer cancel()
	bot := s.signedInOver(t, "carol")
	var asked heard
	listening(t, bot, parley.Handlers{Message: func(m *v1.Message) {
		if m.From == bot.Address() {
			return
		}
		asked.add(m.Text)
		// The answer may be there before the call returns, and the test over.
		if _, err := bot.Say(ctx, m.Conversation, "You said: "+m.Text); err != nil && ctx.Err() == nil {
			t.Errorf("answering: %v", err)
		}
	}})
	people, answers := []string{"alice", "bob"}, make([]heard, 2)
	var clients []*parley.Client
	for i, name := range people {
		c := s.signedInOver(t, name)
		listening(t, c, parley.Handlers{Message: func(m *v1.Message) {
			if m.From != c.Address() {
				answers[i].add(m.Text)
			}
		}})
		clients = append(clients, c)
	}
	const each = 60
	var talk sync.WaitGroup
	for i, c := range clients {
		talk.Go(func() {
			for n := range each {
				if _, err := c.Say(ctx, bot.Address(), fmt.Sprintf("%s %d", people[i], n)); err != nil {
					t.Errorf("saying: %v", err)
					return
				}
			}
		})
	}
	for i := range 4 {
		s.Eventually("some of the questions", func() bool { return len(asked.copy()) >= 2*each*(i+1)/6 })
		if i%2 == 0 {
			s.Stop()
		} else {
			s.Kill()
		}
		s.Again()
	}
	talk.Wait()
	var questions []string
	for i, name := range people {
		var mine []string
		for n := range each {
			questions = append(questions, fmt.Sprintf("%s %d", name, n))
			mine = append(mine, fmt.Sprintf("You said: %s %d", name, n))
		}
		s.Eventually("all answers for "+name, func() bool { return len(answers[i].copy()) >= each })
		once(t, name, answers[i].copy(), mine)
	}
	once(t, "the bot", asked.copy(), questions)
}

func once(t *testing.T, who string, got map[string]int, want []string) {
	t.Helper()
	for text, n := range got {
		if n != 1 {
			t.Errorf("%s heard %q %d times", who, text, n)
		}
	}
	if texts := slices.Sorted(maps.Keys(got)); !slices.Equal(texts, slices.Sorted(slices.Values(want))) {
		t.Errorf("%s heard %q, want %q", who, texts, want)
	}
}
