package gauge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what processes have used, all their threads together.
type Usage struct {
	CPU float64 `json:"cpu_s"`
	RSS int     `json:"rss_kB"`
	PSS int     `json:"pss_kB"` // pages shared by n processes count 1/n: the honest sum for servers that fork
	FDs int     `json:"fds"`
}

// clockTicks is USER_HZ, in which /proc counts; it is 100 on every Linux that Go runs on.
const clockTicks = 100

// family is pids with all their descendants.
func family(pids []int) []int {
	parents := map[int]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if f, err := statFields(pid); err == nil { // else it has just ended
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	all := map[int]bool{}
	for _, p := range pids {
		all[p] = true
	}
	for grown := true; grown; {
		grown = false
		for pid, parent := range parents {
			if all[parent] && !all[pid] {
				all[pid], grown = true, true
			}
		}
	}
	var list []int
	for p := range all {
		list = append(list, p)
	}
	return list
}

// statFields are the fields of /proc/PID/stat from the state on (proc(5): field 3).
func statFields(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The name in parentheses may hold anything.
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 22 {
		return nil, fmt.Errorf("gauge: /proc/%d/stat has %d fields", pid, len(f))
	}
	return f, nil
}

// Measure reads the Usage of processes and of all that they have started. One of pids that has ended is an error: the
// server was not meant to. What an ended child has used stands with its parent, who waited for it.
func Measure(pids []int, memory bool) (Usage, error) {
	var u Usage
	for _, pid := range family(pids) {
		f, err := statFields(pid)
		switch {
		case err != nil && slices.Contains(pids, pid):
			return u, err
		case err != nil:
			continue // it has just ended
		}
		for _, ticks := range f[11:15] { // proc(5): utime, stime, cutime, cstime
			n, _ := strconv.ParseFloat(ticks, 64) // the kernel writes numbers
			u.CPU += n / clockTicks
		}
		if !memory {
			continue
		}
		rss, pss, err := memoryOf(pid)
		switch {
		case err != nil && slices.Contains(pids, pid):
			return u, err
		case err != nil:
			continue
		}
		u.RSS += rss
		u.PSS += pss
		if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil { // not ours to see: left out
			u.FDs += len(fds)
		}
	}
	return u, nil
}

// memoryOf reads kilobytes; where smaps_rollup is not ours to see, the PSS is the RSS.
func memoryOf(pid int) (rss, pss int, err error) {
	rss, err = kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
	if err != nil {
		return 0, 0, err
	}
	if pss, err = kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:"); err != nil {
		pss = rss
	}
	return rss, pss, nil
}

func kilobytes(file, key string) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), key); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, fmt.Errorf("gauge: %s has no %s", file, key)
}

// OwnCPU is what this process has used, in seconds.
func OwnCPU() float64 {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}

// Scrape reads the unlabelled metrics of a Parley; none without an address.
func Scrape(addr string) (map[string]float64, error) {
	if addr == "" {
		return nil, nil
	}
	resp, err := HTTP.Get("http://" + addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	return all, nil
}

// HTTP asks servers under load: no connection is kept.
var HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}, Timeout: 90 * time.Second}
