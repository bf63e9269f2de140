package committer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/base/id"
)

// notes is a small file beside the database, "log.refused". Before the senders of a batch that hangs in its commit
// are told that it was not recorded, its ids go there; when the process is killed before it could void them, the next start
// does. The file is empty at all other times.
type notes struct {
	name string
	log  *slog.Logger
	mu   sync.Mutex // guards the file
}

func newNotes(dir string, log *slog.Logger) *notes {
	return &notes{name: filepath.Join(dir, "log.refused"), log: log}
}

// write appends "base id" for each entry and waits for that, but not longer than wait: the disk may hang for the same
// reason as the commit. The text is in the hands of the kernel when it returns in time, so that a killed process keeps it.
func (n *notes) write(base int64, batch []entry, wait time.Duration) {
	var b bytes.Buffer
	for i := range batch {
		fmt.Fprintf(&b, "%d %s\n", base, batch[i].rec.ID)
	}
	written := make(chan error, 1)
	go func() { // ends when the disk answers
		n.mu.Lock()
		defer n.mu.Unlock()
		f, err := os.OpenFile(n.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err == nil {
			_, err = f.Write(b.Bytes())
			written <- err
			f.Sync() // as good as the disk allows; the promise is about a killed process
			f.Close()
			return
		}
		written <- err
	}()
	select {
	case err := <-written:
		if err != nil {
			n.log.Error("cannot note which records were refused", "err", err)
		}
	case <-time.After(wait):
		n.log.Error("cannot note in time which records were refused", "count", len(batch))
	}
}

// clear empties the file: all that it names is settled.
func (n *notes) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := os.Truncate(n.name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("cannot clear the notes of refused records", "err", err)
	}
}

// read returns the ids and the lowest base among them. A line that was cut off by a crash is ignored.
func (n *notes) read() (base int64, list []id.ID, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, err := os.ReadFile(n.name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("committer: reading the notes of refused records: %w", err)
	}
	s := bufio.NewScanner(bytes.NewReader(text))
	for s.Scan() {
		number, name, _ := strings.Cut(s.Text(), " ")
		b, err1 := strconv.ParseInt(number, 10, 64)
		d, err2 := id.Parse(name)
		if err1 != nil || err2 != nil {
			continue
		}
		if len(list) == 0 || b < base {
			base = b
		}
		list = append(list, d)
	}
	return base, list, s.Err()
}

// Settle voids what an earlier process refused and could not void any more.
func (c *Committer) Settle(ctx context.Context) error {
	base, list, err := c.notes.read()
	if err != nil || len(list) == 0 {
		return err
	}
	head, err := c.voidIDs(ctx, base, list)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.advance(head)
	c.mu.Unlock()
	c.notes.clear()
	return nil
}
