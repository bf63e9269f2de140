// Package size writes numbers of bytes as people read them.
package size

import (
	"strconv"
	"strings"
)

// Text is a number of bytes in decimal units with two or three digits: "1.2 MB".
func Text(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		if f /= 1000; f < 999.5 {
			break
		}
	}
	precision := 0
	if f < 9.95 {
		precision = 1
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', precision, 64), ".0") + " " + unit
}
