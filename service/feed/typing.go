package feed

import "time"

// mostTyping bounds how many people may write to somebody at a moment.
const mostTyping = 10_000

// typing is who writes to whom now. The hub's lock guards it.
type typing struct {
	to    map[string]map[string]time.Time // and until when
	count int
}

// Typing is told that somebody writes to somebody, or has stopped.
func (h *Hub) Typing(from, to string, active bool) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	_, writes := h.typing.to[to][from]
	if !active {
		if writes {
			h.typing.remove(from, to)
			h.tellTyping(from, to, false)
		}
		return
	}
	if !writes {
		if h.typing.count == mostTyping {
			return
		}
		h.typing.count++
		if h.typing.to == nil {
			h.typing.to = map[string]map[string]time.Time{}
		}
		if h.typing.to[to] == nil {
			h.typing.to[to] = map[string]time.Time{}
		}
		if h.typing.count == 1 {
			h.look() // so that it ends
		}
	}
	h.typing.to[to][from] = now.Add(h.o.Limits.Typing)
	h.tellTyping(from, to, true)
}

// tellTyping tells the streams of to. h.mu is held.
func (h *Hub) tellTyping(from, to string, active bool) {
	for _, s := range h.streamsOf(to) {
		s.note(note{Typing, from}, active)
	}
}

func (t *typing) remove(from, to string) {
	delete(t.to[to], from)
	if len(t.to[to]) == 0 {
		delete(t.to, to)
	}
	t.count--
}

// hasSpoken ends what is known of somebody's writing: the message is there. h.mu is held.
func (h *Hub) hasSpoken(from, to string) {
	if _, writes := h.typing.to[to][from]; !writes {
		return
	}
	h.typing.remove(from, to)
	h.tellTyping(from, to, false)
}

// stopTyping ends what has gone on for too long. h.mu is held.
func (h *Hub) stopTyping(now time.Time) {
	for to, all := range h.typing.to {
		for from, until := range all {
			if !until.After(now) {
				h.typing.remove(from, to)
				h.tellTyping(from, to, false)
			}
		}
	}
}
