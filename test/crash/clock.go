package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The wall clock of a process cannot be moved from outside, and that of the machine belongs to others. So this fault builds
// the server with a package time whose Now adds to the seconds since 1970 what a file says at that moment. The monotonic clock
// goes on as it does when an administrator sets the time.

const envClock = "PARLEY_CRASH_CLOCK"

// shiftSource is added to package time.
const shiftSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// shift is the number of seconds that Now is wrong by, in a file of 8 bytes that is mapped.
var shift = func() *int64 {
	name, ok := syscall.Getenv("` + envClock + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&b[0]))
}()

func shifted() int64 {
	if shift == nil {
		return 0
	}
	return atomic.LoadInt64(shift)
}
`

// clockOverlay writes the files for go build -overlay.
func clockOverlay(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("crash: go env: %w", err)
	}
	root := strings.TrimSpace(string(out))
	original := filepath.Join(root, "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	before, now, ok := strings.Cut(string(text), "\nfunc Now() Time {\n")
	place := "\n\tif mono == 0 {"
	if !ok || !strings.Contains(now, place) {
		return "", errors.New("crash: time.Now of this Go is not what it was, so the clock cannot be moved")
	}
	changed := before + "\nfunc Now() Time {\n" + strings.Replace(now, place, "\n\tsec += shifted()"+place, 1)
	files := map[string]string{original: filepath.Join(dir, "time.go.txt"), filepath.Join(root, "src", "time", "zz_shift.go"): filepath.Join(dir, "shift.go.txt")}
	list, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return "", fmt.Errorf("crash: %w", err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, errors.Join(
		os.WriteFile(files[original], []byte(changed), 0o600),
		os.WriteFile(filepath.Join(dir, "shift.go.txt"), []byte(shiftSource), 0o600),
		os.WriteFile(overlay, list, 0o600))
}

// setClock moves the server's wall clock, now and in its next lives.
func (x *run) setClock(d time.Duration) error {
	name := filepath.Join(x.dir, "clock")
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(int64(d/time.Second)))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	if _, err = f.WriteAt(b[:], 0); err == nil {
		err = f.Close()
	}
	x.clock = d
	return err
}

// clockRound sets the clock an hour ahead or back while the load goes on, and on every other round restarts the server with
// the clock where it is then.
func clockRound(ctx context.Context, x *run, i int) (string, error) {
	pause(ctx, time.Second)
	steps := []time.Duration{time.Hour, 0, -time.Hour, 0}
	before := x.crew.signIns()
	to := steps[i%len(steps)]
	from := x.clock
	if err := x.setClock(to); err != nil {
		return "", err
	}
	pause(ctx, 2500*time.Millisecond)
	note := fmt.Sprintf("from %+v to %+v", from, to)
	if again := x.crew.signIns() - before; again > 0 {
		return note, fmt.Errorf("crash: %d clients that stay had to connect again although only the clock was moved\n%s", again, x.server.tail())
	}
	if i%4 != 3 {
		x.server.kill()
		if _, err := x.again(ctx); err != nil {
			return note, err
		}
		note += ", and killed there"
	}
	return note, x.alive()
}
