package sqlstore

import (
	"testing"

	"github.com/parley-im/parley/store"
)

func TestAppendRead(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		r := open(t, o)
		want := message("alice@example.com", "bob@example.com", "hello \x00 world")
		want.Meta["odd"] = "a \"quoted\\\" line\r\nand \x01 more ü"
		r.put(t, want, &store.Record{Kind: store.KindAdmin, From: "alice@example.com"})
		check := func(r *running) {
			t.Helper()
			got, err := r.Log().Read(t.Context(), 0, 10)
			if err != nil || len(got) != 2 {
				t.Fatal(got, err)
			}
			w := *want
			if g := got[0]; g.Sum() != g.Hash || g.Hash != w.Hash || g.Seq != 1 || !g.At.Equal(w.At) || g.Meta["odd"] != w.Meta["odd"] {
				t.Errorf("got %+v, want %+v", g, w)
			}
			if g := got[1]; g.Sum() != g.Hash || g.Seq != 2 || g.Meta != nil || !g.Ref.IsZero() {
				t.Errorf("got %+v", g)
			}
		}
		check(r)
		check(r.reopen(t, o))
	})
}
