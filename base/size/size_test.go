package size

import (
	"math"
	"testing"
)

func TestText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 1234: "1.2 kB", 9990: "10 kB", 12345: "12 kB", 999499: "999 kB", 999_600: "1 MB", 999999: "1 MB",
		1234567: "1.2 MB", 100 << 20: "105 MB", 1_500_000_000: "1.5 GB", 1 << 50: "1.1 PB", math.MaxInt64: "9.2 EB",
	} {
		if got := Text(n); got != want {
			t.Errorf("Text(%d) = %q, want %q", n, got, want)
		}
	}
}
