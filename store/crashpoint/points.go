//go:build crash_points

// Package crashpoint kills the process at a named place, and records what SQLite writes and syncs. This build of it is
// for test/crash and never for anything else; it is told by its environment:
//
//	PARLEY_CRASH_POINT       NAME:PROBABILITY:SEED, where to die
//	PARLEY_CRASH_TRACE       the file for the trace, see trace.go
//	PARLEY_CRASH_CHECKPOINT  bytes between two checkpoints
package crashpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Variables of the environment.
const (
	envPoint      = "PARLEY_CRASH_POINT"
	envTrace      = "PARLEY_CRASH_TRACE"
	envCheckpoint = "PARLEY_CRASH_CHECKPOINT"
)

// point is where a process dies.
type point struct {
	name   string
	chance float64

	mu   sync.Mutex // guards rand
	rand *rand.Rand
}

// armed is the one point of this process; its name is "" for none.
var armed = sync.OnceValue(func() *point {
	text := os.Getenv(envPoint)
	if text == "" {
		return &point{}
	}
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		panic(envPoint + ": want NAME:PROBABILITY:SEED")
	}
	chance, err1 := strconv.ParseFloat(parts[1], 64)
	seed, err2 := strconv.ParseUint(parts[2], 10, 64)
	if err1 != nil || err2 != nil {
		panic(fmt.Sprintf("%s: %v %v", envPoint, err1, err2))
	}
	return &point{name: parts[0], chance: chance, rand: rand.New(rand.NewPCG(seed, 7))}
})

// try is true with the point's probability.
func (p *point) try() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rand.Float64() < p.chance
}

// Hit kills the process, as kill -9 does, if this is the point and its time has come. What it says before goes to the
// server's log.
func Hit(name string) {
	p := armed()
	if p.name != name || !p.try() {
		return
	}
	fmt.Fprintf(os.Stderr, "crash point %s\n", name)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // cannot fail
	select {}
}

// Every is the number of bytes between two checkpoints.
func Every(bytes int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(envCheckpoint), 10, 64); err == nil {
		return n
	}
	return bytes
}
