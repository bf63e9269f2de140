package meta

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// TestMeta: any map comes back as it was.
func TestMeta(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOfN(rapid.String(), rapid.String(), 1, 20).Draw(t, "meta")
		text := Append(nil, want)
		var plain map[string]string
		if err := json.Unmarshal(text, &plain); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := Parse(string(text))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: %v, %v", text, got, err)
		}
		for k, v := range want {
			if got[k] != v || plain[k] != v {
				t.Fatalf("%q: got %q, want %q", k, got[k], v)
			}
		}
	})
}
