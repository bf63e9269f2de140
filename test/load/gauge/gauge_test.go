package gauge

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// Each duration falls into a bucket that holds it and is at most 1.6 % wide.
func TestBuckets(t *testing.T) {
	last := -1
	for v := uint64(0); v < 1<<maxBits; v += max(1, v/100) {
		b := bucketOf(v)
		if b < last || b >= buckets {
			t.Fatalf("%d is in bucket %d, after bucket %d", v, b, last)
		}
		last = b
		if top := topOf(b); top < v || float64(top-v) > float64(v)/64+1 {
			t.Fatalf("%d is in bucket %d, which ends at %d", v, b, top)
		}
	}
	if b := bucketOf(1 << 60); b != buckets-1 {
		t.Errorf("what is too long is in bucket %d, want %d", b, buckets-1)
	}
}

// Percentiles agree with a sorted list, to the width of a bucket, on the slower side.
func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	for _, n := range []int{1, 2, 3, 100, 1001} {
		h := &Histogram{}
		var all []time.Duration
		for range n {
			d := time.Duration(random.ExpFloat64() * float64(3*time.Millisecond))
			all = append(all, d)
			h.Add(d)
		}
		slices.Sort(all)
		for _, p := range []float64{0, 50, 90, 99, 99.9, 100} {
			rank := int(p/100*float64(n)+0.999999) - 1
			want := all[max(rank, 0)]
			if got := h.Percentile(p); got < want || got > want+want/60+1 {
				t.Errorf("%d durations, %v %%: %v, want %v", n, p, got, want)
			}
		}
		if got := h.Percentile(100); got != all[n-1] {
			t.Errorf("%d durations: the longest is %v, want %v", n, got, all[n-1])
		}
	}
	if got := new(Histogram).Percentile(50); got != 0 {
		t.Errorf("nothing was measured, and the median is %v", got)
	}
}

// What a server's children use counts, also when they have ended; a server that has ended is an error.
func TestMeasureCountsChildren(t *testing.T) {
	shell := exec.Command("sh", "-c", `dd if=/dev/zero of=/dev/null bs=1 count=300000 2>/dev/null; echo; read x`)
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	pids := []int{shell.Process.Pid}
	if _, err := out.Read(make([]byte, 1)); err != nil { // dd has ended
		t.Fatal(err)
	}
	u, err := Measure(pids, true)
	if err != nil || u.CPU < 0.03 || u.RSS == 0 || u.PSS > u.RSS {
		t.Errorf("a shell with a child that read and wrote 300,000 times has used %+v, error %v", u, err)
	}
	if err := errors.Join(in.Close(), shell.Wait()); err != nil && shell.ProcessState.ExitCode() > 1 {
		t.Fatal(err)
	}
	if _, err := Measure(pids, false); err == nil {
		t.Error("a server that has ended can be measured")
	}
}
