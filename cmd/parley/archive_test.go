package main

import (
	"testing"

	v1 "github.com/parley-im/parley/api/parley/v1"
)

// TestWhat: what an administrator reads of each kind of record.
func TestWhat(t *testing.T) {
	for _, row := range []struct {
		r    *v1.Record
		want string
	}{
		{&v1.Record{Kind: "message", Text: "hello"}, "hello"},
		{&v1.Record{Kind: "message", ContentType: "image/png", Body: make([]byte, 7)}, "(image/png, 7 bytes)"},
		{&v1.Record{Kind: "edit", Text: "hello again"}, "hello again"},
		{&v1.Record{Kind: "retract", Ref: "id", Meta: map[string]string{"quote": "hello"}}, "“hello”"},
		{&v1.Record{Kind: "retract", Ref: "id"}, "id"},
		{&v1.Record{Kind: "reaction", Body: []byte("👍"), Meta: map[string]string{"quote": "hello"}}, "👍 “hello”"},
		{&v1.Record{Kind: "reaction", Body: []byte("👍"), Ref: "id", Meta: map[string]string{"removed": "1"}}, "no more 👍 id"},
		{&v1.Record{Kind: "delivery", Device: "phone", Meta: map[string]string{"outcome": "delivered"}}, "delivered phone"},
		{&v1.Record{Kind: "receipt", Meta: map[string]string{"outcome": "displayed"}}, "displayed"},
		{&v1.Record{Kind: "call.end", Meta: map[string]string{"outcome": "answered", "duration": "61230"}}, "answered after 1m1.2s"},
	} {
		if got := what(row.r); got != row.want {
			t.Errorf("%v: %q, want %q", row.r, got, row.want)
		}
	}
}
