package sip

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestExamples parses, checks, re-renders and frames the examples of RFC 3261 §24, RFC 3665 and RFC 3428.
func TestExamples(t *testing.T) {
	for rfc, want := range map[string]int{"rfc3261": 16, "rfc3665": 178, "rfc3428": 4} {
		files, err := filepath.Glob("testdata/" + rfc + "/*.sip")
		if err != nil || len(files) != want {
			t.Errorf("%s: %d files, %v; want %d", rfc, len(files), err, want)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			original := bytes.Clone(data)
			m, err := Parse(data)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if e := Check(m); e != nil {
				t.Errorf("%s: %v", file, e)
			}
			if n, err := Frame(original, DefaultLimits()); n != len(original) || err != nil {
				t.Errorf("%s: Frame = %d, %v, want %d", file, n, err, len(original))
			}
			if out := m.Edit().Bytes(); !bytes.Equal(out, m.Bytes()) {
				t.Errorf("%s: an untouched draft differs:\n%s\n---\n%s", file, out, m.Bytes())
			}
			sameHeaderValues(t, m, reparse(t, m.Edit()))
		}
	}
}
