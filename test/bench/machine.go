package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what the figures were measured on.
type machine struct {
	Processor string  `json:"processor"`
	Cores     int     `json:"cores"`
	MemoryGB  int     `json:"memory_GB"`
	Kernel    string  `json:"kernel"`
	Go        string  `json:"go"`
	Load      string  `json:"load_average"` // when the run began
	SyncP50   float64 `json:"fdatasync_p50_ms"`
	SyncP99   float64 `json:"fdatasync_p99_ms"`
}

func (m machine) String() string {
	return fmt.Sprintf("%d × %s, %d GB, Linux %s, %s; fdatasync p50 %s ms, p99 %s ms; load average at the start %s",
		m.Cores, m.Processor, m.MemoryGB, m.Kernel, m.Go, short(m.SyncP50), short(m.SyncP99), m.Load)
}

// describe reads the machine, and measures its disk in dir.
func describe(dir string) (machine, error) {
	m := machine{Processor: "unknown processor", Cores: runtime.NumCPU(), Go: runtime.Version(), Load: "unknown"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				m.Processor = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Fields(string(text))[0]
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return m, fmt.Errorf("bench: sysinfo: %w", err)
	}
	m.MemoryGB = int((uint64(info.Totalram)*uint64(info.Unit) + 1<<29) >> 30)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, fmt.Errorf("bench: uname: %w", err)
	}
	m.Kernel = string(name.Release[:max(0, bytes.IndexByte(name.Release[:], 0))])
	var err error
	m.SyncP50, m.SyncP99, err = syncTimes(dir)
	return m, err
}

// syncTimes is how long a small appended write takes to come to the disk.
func syncTimes(dir string) (p50, p99 float64, err error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the folder goes later
	defer f.Close()           //nolint:errcheck // it is nobody's data
	const times = 300
	page := make([]byte, 4096)
	var took []time.Duration
	for range times {
		if _, err := f.Write(page); err != nil {
			return 0, 0, err
		}
		began := time.Now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, 0, fmt.Errorf("bench: fdatasync: %w", err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return milliseconds(took[times/2]), milliseconds(took[times*99/100]), nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// packageVersion is that of an installed Debian package.
func packageVersion(name string) string {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output() //nolint:gosec // our own names
	if err != nil {
		return "unknown version"
	}
	return string(out)
}

// commit is the project's, with a word if files differ from it.
func (b *bench) commit() string {
	git := func(args ...string) string {
		cmd := exec.Command("git", args...) //nolint:gosec // fixed
		cmd.Dir = b.root
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	id := git("rev-parse", "--short", "HEAD")
	if id == "" {
		return "unknown"
	}
	if n := len(strings.Fields(git("diff", "--name-only", "HEAD"))); n > 0 {
		id += " with " + strconv.Itoa(n) + " changed files"
	}
	return id
}
