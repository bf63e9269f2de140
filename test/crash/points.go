package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// point is a place in the server at which it kills itself (package store/crashpoint).
type point struct {
	name     string
	chance   float64 // at each visit
	gentle   bool    // reached by a gentle stop only
	postgres bool    // there with PostgreSQL as well
	about    string
}

// points are all, in the order of a message's way.
var points = []point{
	{"commit.begin", 0.02, false, true, "before the transaction begins"},
	{"commit.rows", 0.02, false, true, "rows are inserted, COMMIT is not said"},
	{"commit.sync.before", 0.02, false, false, "COMMIT is written and not synced"},
	{"commit.sync.after", 0.02, false, false, "it is synced, and COMMIT has not returned"},
	{"commit.wake", 0.02, false, true, "COMMIT has returned, nobody was told"},
	{"recorded.told", 0.02, false, true, "the service was told, nothing is delivered or answered"},
	{"mailbox.read", 0.1, false, true, "acknowledged with 202, about to be delivered"},
	{"delivered.unrecorded", 0.02, false, true, "delivered and acknowledged, the outcome not on its way"},
	{"late.noted", 1, false, false, "a commit hung, its senders are about to be refused, which is noted"},
	{"void.before", 1, false, false, "it has landed, and is not void yet"},
	{"void.after", 1, false, false, "it is void, and readers were not let past it"},
	{"checkpoint.walsync.before", 0.3, false, false, "a checkpoint is about to sync the WAL"},
	{"checkpoint.walsync.after", 0.3, false, false, "and has"},
	{"checkpoint.page.before", 0.02, false, false, "it copies pages"},
	{"checkpoint.page.after", 0.02, false, false, "and has copied one"},
	{"checkpoint.dbsync.before", 0.3, false, false, "it is about to sync the database file"},
	{"checkpoint.dbsync.after", 0.3, false, false, "and has"},
	{"wal.restart.before", 0.3, false, false, "the WAL is about to begin anew"},
	{"wal.restart.after", 0.3, false, false, "and has its new head"},
	{"truncate.before", 1, false, false, "after a failed sync: the WAL is about to be truncated"},
	{"truncate.after", 1, false, false, "and was"},
	{"close.delete.before", 1, true, false, "a gentle stop is about to delete the WAL"},
	{"close.delete.after", 1, true, false, "and has"},
	{"state.sync.before", 0.1, false, false, "cursors and bindings are written and not synced"},
	{"state.sync.after", 0.1, false, false, "they are synced"},
	{"state.page.before", 0.05, false, false, "a checkpoint of them copies pages"},
	{"state.page.after", 0.05, false, false, "and has copied one"},
	{"state.dbsync.before", 0.3, false, false, "it is about to sync their file"},
	{"state.dbsync.after", 0.3, false, false, "and has"},
}

// pointLimit is how long the load may take to lead to a point.
const pointLimit = 20 * time.Second

// smallCheckpoints makes a server of the build with points checkpoint often.
const smallCheckpoints = "PARLEY_CRASH_CHECKPOINT=65536"

// pointRound kills the server at the next point.
func pointRound(ctx context.Context, x *run, i int) (string, error) {
	list := points
	if x.o.db == "postgres" {
		list = slices.DeleteFunc(slices.Clone(points), func(p point) bool { return !p.postgres })
	}
	p := list[i%len(list)]
	x.server.kill()
	chance := p.chance
	for try := 0; ; try++ {
		x.server.env = []string{fmt.Sprintf("PARLEY_CRASH_POINT=%s:%g:%d", p.name, chance, x.rand.Uint64())}
		err := x.server.start(ctx)
		if err != nil && x.server.running() {
			return p.name, err
		}
		if p.gentle && err == nil {
			pause(ctx, x.between(500*time.Millisecond, 1500*time.Millisecond))
			_ = x.server.cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		}
		select {
		case <-x.server.ended:
		case <-time.After(pointLimit):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if x.server.running() {
			if try < 2 { // in this life nothing led there, or chance was against it
				x.server.kill()
				chance = min(1, chance*10)
				continue
			}
			return p.name, fmt.Errorf("crash: nothing led to the point %s within %v", p.name, pointLimit)
		}
		if !strings.Contains(x.server.tail(), "crash point "+p.name) {
			return p.name, fmt.Errorf("crash: the server ended otherwise than at the point %s: %w\n%s", p.name, x.server.err, x.server.tail())
		}
		break
	}
	x.hits[p.name]++
	took, err := x.again(ctx)
	return fmt.Sprintf("%-26s %s; back after %v", p.name, p.about, took), err
}

// pointTable says how often each point was hit.
func (x *run) pointTable() string {
	var b strings.Builder
	for _, p := range points {
		if n := x.hits[p.name]; n > 0 {
			fmt.Fprintf(&b, "  %-26s %3d × %s\n", p.name, n, p.about)
		}
	}
	return b.String()
}

// instrumented is the build tag of the server with points, traces and small checkpoints.
const instrumented = "crash_points"

// copyFolder copies the files of a data folder, without those that a start makes anew.
func copyFolder(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	return filepath.WalkDir(from, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !d.Type().IsRegular() || strings.HasSuffix(name, "-shm"): // sockets; memory
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o600)
	})
}
