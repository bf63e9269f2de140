package sqlstore

import (
	"reflect"
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
		read, err := r.Log().Read(t.Context(), 0, 10)
		newest, ok := r.Log().Newest(0)
		if err != nil || !ok || len(newest) != len(read) {
			t.Fatal(read, newest, ok, err)
		}
		for i := range read {
			if !reflect.DeepEqual(read[i], *newest[i]) {
				t.Errorf("in memory %+v, in the log %+v", newest[i], read[i])
			}
		}
		r = r.reopen(t, o)
		check(r)
		if list, ok := r.Log().Newest(0); ok {
			t.Errorf("after a new start: %v", list)
		}
	})
}
