package id

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// RFC 9562 appendix A.6: the example of UUID version 7.
func TestRFC9562Example(t *testing.T) {
	const text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
	d, err := Parse(strings.ToUpper(text))
	if err != nil || d.String() != text {
		t.Fatalf("%v %v", d, err)
	}
	if want := time.Date(2022, 2, 22, 19, 22, 22, 0, time.UTC); !d.Time().Equal(want) {
		t.Errorf("time %v, want %v", d.Time(), want)
	}
}

func TestLayout(t *testing.T) {
	var last atomic.Uint64
	now := time.UnixMicro(1_700_000_000_123_500)
	d := at(now, &last, ^uint64(0))
	if got := d.String(); got != "018bcfe5-687b-7800-bfff-ffffffffffff" {
		t.Errorf("all random bits set: %s", got)
	}
	e := at(now, &last, 0)
	if got := e.String(); got != "018bcfe5-687b-7801-8000-000000000000" {
		t.Errorf("same instant, no random bits: %s", got)
	}
	back := at(now.Add(-time.Hour), &last, 0)
	if back.Compare(e) != 1 || e.Compare(back) != -1 || e.Compare(e) != 0 {
		t.Error("a clock set back breaks the order")
	}
	if d.IsZero() || !(ID{}).IsZero() {
		t.Error("IsZero")
	}
}

func TestMonotonic(t *testing.T) {
	const goroutines, each = 8, 5000
	var wg sync.WaitGroup
	all := make([][]ID, goroutines)
	for g := range all {
		wg.Go(func() {
			for range each {
				all[g] = append(all[g], New())
			}
		})
	}
	wg.Wait()
	seen := map[ID]bool{}
	for _, ids := range all {
		for i, d := range ids {
			if i > 0 && d.Compare(ids[i-1]) != 1 {
				t.Fatalf("%v after %v", d, ids[i-1])
			}
			if seen[d] {
				t.Fatalf("%v twice", d)
			}
			seen[d] = true
		}
	}
	if d := New(); time.Since(d.Time()).Abs() > time.Minute {
		t.Errorf("time of a new id: %v", d.Time())
	}
}

func TestParseErrors(t *testing.T) {
	for _, s := range []string{
		"", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
		"017f22e2079b0-7cc3-98c4-dc0c0c07398f", "g17f22e2-79b0-7cc3-98c4-dc0c0c07398f", "0-7f22e2-79b0-7cc3-98c4-dc0c0c07398f",
		"{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
	} {
		if d, err := Parse(s); err == nil || !d.IsZero() {
			t.Errorf("%q was taken as %v", s, d)
		}
	}
}

func TestText(t *testing.T) {
	want := New()
	b, err := json.Marshal(map[string]ID{"id": want})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]ID
	if err := json.Unmarshal(b, &got); err != nil || got["id"] != want {
		t.Fatalf("%s: %v %v", b, got, err)
	}
	keep := want
	if err := keep.UnmarshalText([]byte("nonsense")); err == nil || keep != want {
		t.Error("a bad text must leave the id alone")
	}
}

func TestNoAllocation(t *testing.T) {
	text := New().String()
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		d := New()
		buf, _ = d.AppendText(buf[:0])
		if _, err := Parse(text); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
	f.Add("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse(s)
		if err == nil && d.String() != strings.ToLower(s) {
			t.Errorf("%q became %s", s, d)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New()
	}
}

// A process goes on above the last id of the one before, unless that is from a clock that was far ahead.
func TestAfter(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		before time.Duration // the last id of the process before
		want   time.Duration // the next one of this
	}{
		"the clock was set back":  {time.Hour, time.Hour},
		"it was far ahead":        {24 * time.Hour, 0},
		"it went on as it should": {-time.Hour, 0},
	} {
		var mine atomic.Uint64
		old := at(now.Add(c.before), new(atomic.Uint64), 7)
		after(old, now.Add(2*time.Hour), &mine)
		next := at(now, &mine, 7)
		if got := next.Time().Sub(now); got != c.want {
			t.Errorf("%s: the next id is of %v from now, want %v", name, got, c.want)
		}
		if c.want >= c.before && next.Compare(old) <= 0 {
			t.Errorf("%s: %s follows %s", name, next, old)
		}
	}
	known := New()
	After(known, time.Hour)
	if next := New(); next.Compare(known) <= 0 {
		t.Errorf("%s follows %s", next, known)
	}
}
