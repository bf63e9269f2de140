package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// errEnded is what waiters get when the program that they wait for has ended.
var errEnded = errors.New("the program has ended")

// changes lets any number of waiters look again whenever something may have changed.
type changes struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	ended   bool
}

// update runs change under the lock and wakes every waiter.
func (s *changes) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// end wakes every waiter for good: no more will come.
func (s *changes) end() { s.update(func() { s.ended = true }) }

// await returns when check, which is called under the lock, is true; or when ctx ends or no more will come.
func (s *changes) await(ctx context.Context, check func() bool) error {
	for {
		s.mu.Lock()
		if check() {
			s.mu.Unlock()
			return nil
		}
		if s.ended {
			s.mu.Unlock()
			return errEnded
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// event is what a headless client reports: one JSON object a line, see native/events.h and browser/drive.mjs.
type event struct {
	Event  string `json:"event"`
	Client string `json:"client"` // which page, of the many that one browser has
	State  string `json:"state"`
	From   string `json:"from"`
	Text   string `json:"text"`
	Time   int64  `json:"time"` // seconds since 1970: when the message was sent, as the client shows it
	Code   int    `json:"code"`

	// Of a call between browsers.
	Direction       string  `json:"direction"`
	PacketsSent     int64   `json:"packetsSent"`
	PacketsReceived int64   `json:"packetsReceived"`
	BytesReceived   int64   `json:"bytesReceived"`
	AudioLevel      float64 `json:"audioLevel"`
}

// journal collects the events of one program; as an io.Writer it is its standard output. Lines that are no events are
// left out: they are the library's chatter.
type journal struct {
	changes
	rest   []byte
	events []event
}

func (j *journal) Write(p []byte) (int, error) {
	j.rest = append(j.rest, p...)
	for {
		line, rest, found := bytes.Cut(j.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		var e event
		if json.Unmarshal(line, &e) == nil && e.Event != "" {
			j.update(func() { j.events = append(j.events, e) })
		}
		j.rest = append([]byte(nil), rest...)
	}
}

// mark is the number of events so far: await can be told to look at later ones only.
func (j *journal) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.events)
}

// await returns the first event from mark on that matches, within limit.
func (j *journal) await(ctx context.Context, limit time.Duration, mark int, what string, match func(event) bool) (event, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var found event
	err := j.changes.await(ctx, func() bool {
		for _, e := range j.events[mark:] {
			if match(e) {
				found = e
				return true
			}
		}
		return false
	})
	if err != nil {
		return event{}, fmt.Errorf("no %s within %v: %w%s", what, limit, err, j.tail(mark))
	}
	return found, nil
}

// tail describes the last events since mark, for an error.
func (j *journal) tail(mark int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	events := j.events[mark:]
	if len(events) > 3 {
		events = events[len(events)-3:]
	}
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "; %s %s %s", e.Event, e.State, firstLine(e.Text))
	}
	return b.String()
}

// console collects the plain output of one program, for clients that only talk to people.
type console struct {
	changes
	text []byte
}

func (c *console) Write(p []byte) (int, error) {
	c.update(func() { c.text = append(c.text, p...) })
	return len(p), nil
}

// await returns all output up to now as soon as check likes it, within limit.
func (c *console) await(ctx context.Context, limit time.Duration, what string, check func(output string) bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var output string
	err := c.changes.await(ctx, func() bool {
		output = strings.ReplaceAll(string(c.text), "\r", "")
		return check(output)
	})
	if err != nil {
		lines := strings.Split(strings.TrimSpace(output), "\n")
		return output, fmt.Errorf("no %s within %v: %w; last line: %s", what, limit, err, lines[len(lines)-1])
	}
	return output, nil
}

// firstLine shortens a text for a table or an error.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	if runes := []rune(line); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return line
}
