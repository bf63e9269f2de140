package crowd

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/test/load/ua"
	"github.com/parley-im/parley/wire/sip"
)

// ledger knows of each message whether it was acknowledged and how often it was received.
type ledger struct {
	mu   sync.Mutex // guards what follows
	rows []messageRow
}

type messageRow struct {
	due      time.Duration
	acked    bool
	received uint8
}

// Tally is what became of messages.
type Tally struct {
	Sent     int `json:"sent"`
	Acked    int `json:"acknowledged"`
	Received int `json:"received"`
	Lost     int `json:"lost"` // acknowledged and not received
	Doubled  int `json:"doubled"`
}

func (l *ledger) tally() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := Tally{Sent: len(l.rows)}
	for _, r := range l.rows {
		if r.acked {
			t.Acked++
		}
		switch {
		case r.received > 1:
			t.Doubled++
			t.Received++
		case r.received == 1:
			t.Received++
		case r.acked:
			t.Lost++
		}
	}
	return t
}

const messageSize = 200 // bytes of a body

// write sends a message to somebody.
func (p *person) write(to *person, due time.Duration) {
	w := p.w
	l := &w.messages
	l.mu.Lock()
	n := len(l.rows)
	l.rows = append(l.rows, messageRow{due: due})
	l.mu.Unlock()
	body := append(strconv.AppendInt(nil, int64(n), 10), ' ')
	body = append(body, strings.Repeat("x", messageSize-len(body))...)
	p.c.Send(&ua.Request{
		Method: sip.MESSAGE, URI: to.c.AOR, To: "<" + to.c.AOR + ">", CallID: "m" + strconv.Itoa(n) + "." + w.id,
		ContentType: "text/plain", Body: body,
		Done: func(m *sip.Message) {
			at := ua.Now()
			if !w.answered("MESSAGE", m) {
				return
			}
			if w.measured(due) {
				w.messageAnswers.Add(at - due)
			}
			l.mu.Lock()
			l.rows[n].acked = true
			l.mu.Unlock()
		},
	})
}

func (w *Crowd) messageCame(m *sip.Message, at time.Duration) {
	text, _, _ := strings.Cut(string(m.Body()), " ")
	n, err := strconv.Atoi(text)
	l := &w.messages
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || n < 0 || n >= len(l.rows) {
		w.problem("a message came that nobody sent")
		return
	}
	r := &l.rows[n]
	r.received++
	if r.received == 1 && w.measured(r.due) {
		w.messageReceipt.Add(at - r.due)
	}
}
