package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The files of a run, one JSON value a line.
const (
	fileDevices  = "devices.jsonl"
	fileSent     = "sent.jsonl"
	fileAnswers  = "acknowledged.jsonl"
	fileReceived = "received.jsonl"
	fileArchive  = "archive.jsonl"
)

// device is one that has signed in: everything first sent to its user after Since is owed to it.
type device struct {
	AOR    string    `json:"aor"`
	Device string    `json:"device"` // "urn:uuid:…"
	Name   string    `json:"name"`
	Picky  bool      `json:"picky"` // refuses unwanted messages
	Since  time.Time `json:"since"`
}

// sent is one message. It may be written several times: each repeat has the same Call-ID, From tag and CSeq.
type sent struct {
	Key      string    `json:"key"` // the first word of its text, unique
	From     string    `json:"from"`
	To       string    `json:"to"`
	CallID   string    `json:"call_id"`
	Unwanted bool      `json:"unwanted,omitempty"` // picky devices refuse it
	Link     int       `json:"link"`               // connection on which it was written first; 0: no order is promised
	Place    int       `json:"place"`              // its place on that connection
	At       time.Time `json:"at"`
}

// answer is the final answer to a message.
type answer struct {
	Key        string        `json:"key"`
	Status     int           `json:"status"`
	RetryAfter string        `json:"retry_after,omitempty"`
	Attempts   int           `json:"attempts"`          // times that it was sent anew, not counting retransmissions
	Took       time.Duration `json:"took"`              // from the last attempt
	Excused    bool          `json:"excused,omitempty"` // the server was down or stopped meanwhile
	At         time.Time     `json:"at"`
}

// received is a message that reached a device, written before the device answers.
type received struct {
	Key    string    `json:"key"`
	AOR    string    `json:"aor"`
	Device string    `json:"device"`
	CallID string    `json:"call_id"` // the server's
	Life   int       `json:"life"`    // which process of the server it came from
	Status int       `json:"status"`  // the device's answer
	At     time.Time `json:"at"`
}

// record is what the archive holds.
type record struct {
	Seq     int64  `json:"seq"`
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	From    string `json:"from"`
	To      string `json:"to"`
	Device  string `json:"device"`
	Ref     string `json:"ref,omitempty"`
	Key     string `json:"key,omitempty"`
	CallID  string `json:"call_id,omitempty"`
	Outcome string `json:"outcome,omitempty"`
}

// book is everything that is known of a run.
type book struct {
	Devices  []device
	Sent     []sent
	Answers  []answer
	Received []received
	Archive  []record
	Limit    time.Duration `json:",omitempty"` // of a refusal; 0: refusalLimit
}

// ledger writes the files of the clients, and remembers what it wrote.
type ledger struct {
	dir string

	mu    sync.Mutex // guards what follows
	book  book
	files map[string]*bufio.Writer
	close []func() error
}

func newLedger(dir string) (*ledger, error) {
	l := &ledger{dir: dir, files: map[string]*bufio.Writer{}}
	for _, name := range []string{fileDevices, fileSent, fileAnswers, fileReceived} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("crash: %w", err)
		}
		w := bufio.NewWriter(f)
		l.files[name] = w
		l.close = append(l.close, func() error { return errors.Join(w.Flush(), f.Close()) })
	}
	return l, nil
}

// write adds a line. The caller holds mu.
func (l *ledger) write(name string, v any) {
	text, err := json.Marshal(v)
	if err == nil {
		_, err = l.files[name].Write(append(text, '\n'))
	}
	if err != nil {
		panic(fmt.Sprintf("crash: %s: %v", name, err)) // without its notes a run proves nothing
	}
}

func (l *ledger) device(d device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Devices = append(l.book.Devices, d)
	l.write(fileDevices, d)
}

func (l *ledger) sent(s sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Sent = append(l.book.Sent, s)
	l.write(fileSent, s)
}

func (l *ledger) answered(a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Answers = append(l.book.Answers, a)
	l.write(fileAnswers, a)
}

func (l *ledger) received(r received) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Received = append(l.book.Received, r)
	l.write(fileReceived, r)
}

// snapshot is the book so far, with what the archive holds. Its lists must not be changed.
func (l *ledger) snapshot(archive []record) book {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.book
	b.Archive = archive
	return b
}

// finish closes the files and writes the archive's.
func (l *ledger) finish(archive []record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, c := range l.close {
		err = errors.Join(err, c())
	}
	f, cerr := os.Create(filepath.Join(l.dir, fileArchive))
	if cerr != nil {
		return errors.Join(err, cerr)
	}
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	for _, r := range archive {
		err = errors.Join(err, e.Encode(r))
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// readBook reads the files of an earlier run.
func readBook(dir string) (b book, err error) {
	return b, errors.Join(
		readLines(filepath.Join(dir, fileDevices), &b.Devices),
		readLines(filepath.Join(dir, fileSent), &b.Sent),
		readLines(filepath.Join(dir, fileAnswers), &b.Answers),
		readLines(filepath.Join(dir, fileReceived), &b.Received),
		readLines(filepath.Join(dir, fileArchive), &b.Archive),
	)
}

func readLines[T any](path string, list *[]T) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("crash: %s: %w", path, err)
		}
		*list = append(*list, v)
	}
}
