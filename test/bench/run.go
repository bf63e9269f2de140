package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// run goes through all rounds; those that are finished count when it is interrupted.
func (b *bench) run(ctx context.Context) error {
	turns := b.o.turns()
	turns = slices.DeleteFunc(turns, func(t turn) bool {
		text := t.subject.missing()
		if text != "" && b.book.remark(t.subject.name+": "+text) {
			b.say("%s: %s", t.subject.name, text)
		}
		return text != ""
	})
	for _, t := range turns {
		if err := b.chooseWorkers(ctx, t); err != nil {
			return err
		}
	}
	atOnce := 1
	if b.o.smoke {
		atOnce = 4 // nothing is timed
	}
	finished := 0
	for round := 1; round <= b.o.rounds && ctx.Err() == nil; round++ {
		slots := make(chan struct{}, atOnce)
		var wg sync.WaitGroup
		for _, t := range turns {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if err := b.take(ctx, round, t); err != nil && ctx.Err() == nil {
					b.book.broken(t.subject.name + ", " + t.transport + ": " + err.Error())
					b.say("%s %s: %v", t.subject.id, t.transport, err)
				}
			})
		}
		wg.Wait()
		if ctx.Err() == nil {
			finished = round
		}
	}
	if finished > 0 && finished < b.o.rounds {
		b.book.remark(fmt.Sprintf("The run was interrupted after %d of %d rounds.", finished, b.o.rounds))
		b.o.rounds = finished
		return nil
	}
	return ctx.Err()
}

// maxLag is how many ms Parley's index may be behind its log at the end of a step: work left for later is not measured.
const maxLag = 1000

// take is a turn.
func (b *bench) take(ctx context.Context, round int, t turn) error {
	if t.steps[0].cold {
		return b.coldStart(ctx, round, t)
	}
	p := &place{transport: t.transport, workers: b.workers[t.subject.id+"/"+t.transport]}
	for _, s := range t.steps {
		p.users = max(p.users, s.users)
	}
	return b.with(ctx, t, p, func(r *running) error {
		for i, s := range t.steps {
			warmup := b.o.warmup
			if i > 0 {
				warmup = min(warmup, time.Second) // this server has warmed up
			}
			length := b.o.time
			if s.count != nil {
				length = min(length, 2*time.Second) // memory does not change with time
			}
			figures, err := b.measure(ctx, t.transport, r, s, warmup, length)
			for row, f := range figures {
				id := row + "/" + t.subject.id
				b.book.add(round, id, f)
				b.say("round %d of %d  %-34s %s", round, b.o.rounds, id, f)
				if f[lag] > maxLag && !b.o.smoke {
					b.book.broken(fmt.Sprintf("%s: the index was %.0f ms behind the log at the end: processor time is missing", id, f[lag]))
				}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.id, err)
			}
		}
		return nil
	})
}

// with starts a server in a folder of its own, and removes both at the end. A port that another program has taken in the
// last moment is no reason to give up.
func (b *bench) with(ctx context.Context, t turn, p *place, use func(r *running) error) error {
	for attempt := 1; ; attempt++ {
		err := b.try(ctx, t, p, use)
		if err == nil || attempt == 3 || !errors.Is(err, errStart) || !strings.Contains(err.Error(), "in use") {
			return err
		}
	}
}

var errStart = errors.New("bench: not started")

func (b *bench) try(ctx context.Context, t turn, p *place, use func(r *running) error) (err error) {
	p.dir, err = os.MkdirTemp(b.dir, t.subject.id+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	if err := os.Chmod(p.dir, 0o711); err != nil { //nolint:gosec // PostgreSQL may run as another user, who must come through
		return err
	}
	r, err := t.subject.start(ctx, b, p)
	if err != nil {
		return fmt.Errorf("%w: %w", errStart, err)
	}
	defer func() {
		stopped := r.stop()
		if errors.Is(stopped, errKilled) && !t.subject.ours() {
			b.say("%s: %v", t.subject.id, stopped) // it may take its time; its figures are there
			stopped = nil
		}
		err = errors.Join(err, stopped)
	}()
	return use(r)
}

// loadResult is what the load tool writes, as far as it is used here.
type loadResult struct {
	Done      int         `json:"done"`
	PerSecond float64     `json:"per_s"`
	ServerPer float64     `json:"server_cpu_s_per_10k"`
	ToolPer   float64     `json:"tool_cpu_s_per_10k"`
	IndexLag  float64     `json:"index_lag_s"`
	Receipt   percentiles `json:"receipt_ms"`
	Last      percentiles `json:"last_watcher_ms"` // presence
	Before    memoryUse   `json:"before"`
	Idle      []struct {
		Users  int       `json:"users"`
		Memory memoryUse `json:"memory"`
	} `json:"idle"`
	Statuses map[string]int `json:"statuses"`
	Problems map[string]int `json:"problems"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// memoryUse is in kB. Pages that n processes share count 1/n in each: the honest sum for a server that forks.
type memoryUse struct {
	PSS int `json:"pss_kB"`
}

// measure lets the load tool do a step. Rows are by their id without the subject; there are some even with an error.
func (b *bench) measure(ctx context.Context, transport string, r *running, s step, warmup, length time.Duration) (map[string]figures, error) {
	f, err := os.CreateTemp(b.dir, "figures-*.json")
	if err != nil {
		return nil, err
	}
	file := f.Name()
	if err := f.Close(); err != nil {
		return nil, err
	}
	var servers []string
	for kind, addr := range r.addrs {
		servers = append(servers, kind+"="+addr)
	}
	pids := make([]string, len(r.pids))
	for i, pid := range r.pids {
		pids[i] = strconv.Itoa(pid)
	}
	args := append(slices.Clone(s.args), "-transport", transport, "-server", strings.Join(servers, ","), "-pid", strings.Join(pids, ","),
		"-metrics", r.metrics, "-users", strconv.Itoa(s.users), "-warmup", warmup.String(), "-time", length.String(), "-quiet", "-json", file)
	if s.count != nil {
		counts := make([]string, len(s.count))
		for i, n := range s.count {
			counts[i] = strconv.Itoa(n)
		}
		args = append(args, "-steps", strings.Join(counts, ","))
	}
	cmd := exec.CommandContext(ctx, b.load, args...) //nolint:gosec // just built
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	out, failed := cmd.CombinedOutput()
	if failed != nil {
		failed = fmt.Errorf("load %s: %w: %s", strings.Join(args, " "), failed, out)
	}
	text, err := os.ReadFile(file)
	if err := errors.Join(err, os.Remove(file)); err != nil || len(text) == 0 {
		return nil, errors.Join(failed, err)
	}
	var list []loadResult
	if err := json.Unmarshal(text, &list); err != nil || len(list) != 1 {
		return nil, errors.Join(failed, err, fmt.Errorf("bench: the load tool wrote %d rows", len(list)))
	}
	return s.figuresOf(&list[0]), failed
}

// figuresOf picks what the tables have of a step.
func (s *step) figuresOf(l *loadResult) map[string]figures {
	if s.count != nil {
		all := map[string]figures{}
		for _, i := range l.Idle {
			all[s.id+"/"+strconv.Itoa(i.Users)] = figures{perConnection: float64(i.Memory.PSS-l.Before.PSS) / float64(i.Users)}
		}
		return all
	}
	f := figures{cpu: l.ServerPer, tool: l.ToolPer, rate: l.PerSecond}
	if strings.HasPrefix(s.id, "message/") || strings.HasPrefix(s.id, "latency/") {
		f[p50], f[p99] = l.Receipt.P50, l.Receipt.P99
	}
	if strings.HasPrefix(s.id, "presence/") {
		f[p50], f[p99] = l.Last.P50, l.Last.P99
	}
	if l.IndexLag > 0 {
		f[lag] = l.IndexLag * 1000
	}
	return map[string]figures{s.id: f}
}

// chooseWorkers finds the number of workers with which Kamailio needs the least processor time, by trying.
func (b *bench) chooseWorkers(ctx context.Context, t turn) error {
	key := t.subject.id + "/" + t.transport
	if !t.subject.kamailio() || b.workers[key] > 0 {
		return nil
	}
	if t.transport == "tls" {
		b.workers[key] = 1 // its TLS module has crashed under load with more
		return nil
	}
	if t.subject == kamailioPresence {
		b.workers[key] = 1 // with more, SQLite is locked and people get 500
		return nil
	}
	if len(b.o.workers) == 1 || !b.measuresUnits(key) {
		b.workers[key] = b.o.workers[0]
		return nil
	}
	best := 0.0
	s := closed(t.transport, 64)
	if strings.HasPrefix(t.steps[0].id, "presence/") {
		s = t.steps[0]
	}
	for _, n := range b.o.workers {
		var f figures
		err := b.with(ctx, t, &place{transport: t.transport, users: s.users, workers: n}, func(r *running) error {
			all, err := b.measure(ctx, t.transport, r, s, b.o.warmup, min(b.o.time, 3*time.Second))
			f = all[s.id]
			return err
		})
		if err != nil {
			b.say("%s with %d workers: %v", key, n, err)
			continue
		}
		b.book.try(key, n, f)
		b.say("%s with %d workers: %s", key, n, f)
		if b.workers[key] == 0 || f[cpu] < best {
			b.workers[key], best = n, f[cpu]
		}
	}
	if b.workers[key] == 0 {
		return fmt.Errorf("bench: %s works with no number of workers", key)
	}
	return ctx.Err()
}

// measuresUnits tells whether a server has a turn with messages or presence.
func (b *bench) measuresUnits(key string) bool {
	return slices.ContainsFunc(b.o.turns(), func(t turn) bool {
		return t.subject.id+"/"+t.transport == key && (strings.HasPrefix(t.steps[0].id, "message/") || strings.HasPrefix(t.steps[0].id, "presence/"))
	})
}
