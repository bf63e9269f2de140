package message

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// What several devices do to one message at once is recorded in an order that makes sense: nothing comes behind a retraction, and
// what is so already is not recorded again.
func TestChangesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx := context.Background()
		for i := range 10 {
			rec := r.post(Post{Text: "first"})
			var wg sync.WaitGroup
			for n := range 4 {
				wg.Go(func() {
					_, err := r.service.React(ctx, Change{From: bob, Message: rec.ID}, "👍", false)
					if err != nil && errs.KindOf(err) != errs.Conflict {
						t.Errorf("a reaction: %v", err)
					}
				})
				wg.Go(func() {
					_, err := r.service.Edit(ctx, r.change(rec), fmt.Sprintf("edit %d", n), "")
					if err != nil && errs.KindOf(err) != errs.Conflict {
						t.Errorf("an edit: %v", err)
					}
				})
			}
			for range 2 {
				wg.Go(func() {
					if _, err := r.service.Retract(ctx, r.change(rec)); err != nil && errs.KindOf(err) != errs.Conflict {
						t.Errorf("a retraction: %v", err)
					}
				})
			}
			wg.Wait()
			over, reactions := false, 0
			for _, x := range r.records(store.KindEdit, store.KindRetract, store.KindReaction) {
				if x.Ref != rec.ID {
					continue
				}
				if over {
					t.Fatalf("round %d: %s behind the retraction", i, x.Kind)
				}
				over = x.Kind == store.KindRetract
				if x.Kind == store.KindReaction {
					reactions++
				}
			}
			if !over || reactions > 1 {
				t.Fatalf("round %d: retracted %v, %d reactions", i, over, reactions)
			}
		}
		if n := len(r.service.turns.m); n != 0 {
			t.Errorf("%d turns are remembered", n)
		}
		ended, end := context.WithCancel(ctx)
		rec := r.post(Post{Text: "second"})
		leave, err := r.service.turns.enter(ctx, rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		end()
		if _, err := r.service.Retract(ended, r.change(rec)); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("who does not wait: %v", err)
		}
		leave()
		r.must(r.service.Retract(ctx, r.change(rec)))
	})
}

// The id of a request stands for what was said with it: something else under it is refused, and not lost in silence.
func TestRequestIDForSomethingElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startPages(t, nil)
		ctx := context.Background()
		first := r.post(Post{Text: "one", RequestID: "q"})
		conflict := func(what string, err error) {
			t.Helper()
			if errs.KindOf(err) != errs.Conflict || err == nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		for what, p := range map[string]Post{
			"another text": {Text: "two"}, "formatting": {HTML: "<em>one</em>"}, "an answer": {Text: "one", ReplyTo: first.ID},
		} {
			p.From, p.To, p.RequestID = alice, bob, "q"
			_, _, err := r.service.Post(ctx, p)
			conflict(what, err)
		}
		c := r.change(first)
		c.RequestID = "e"
		r.must(r.service.Edit(ctx, c, "three", ""))
		_, err := r.service.Edit(ctx, c, "four", "")
		conflict("another edit", err)
		c.RequestID = "r"
		r.must(r.service.React(ctx, c, "👍", false))
		_, err = r.service.React(ctx, c, "🎉", false)
		conflict("another reaction", err)
		if _, _, err := r.service.Post(ctx, Post{From: bob, To: alice, Text: "mine", RequestID: "q"}); err != nil {
			t.Errorf("the same id of somebody else: %v", err)
		}
		if again := r.post(Post{Text: "one", RequestID: "q"}); again.ID != first.ID {
			t.Error("said again, and recorded again")
		}
	})
}

// Devices are told of who begins and stops to write all the time now and then, and never that somebody stopped who had not begun.
func TestTypingFlood(t *testing.T) {
	now, ts := time.Now(), newTypings()
	told, active := 0, false
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		for _, on := range []bool{true, false} {
			if ts.news(alice, bob, on, now) {
				if on == active {
					t.Fatal("told twice")
				}
				told, active = told+1, on
			}
		}
	}
	if told < 8 || told > 12 || active {
		t.Errorf("in ten seconds devices were told %d times, and at the end that somebody writes: %v", told, active)
	}
	if !ts.news(carol, bob, true, now) || ts.news(carol, bob, true, now.Add(time.Second)) {
		t.Error("somebody else")
	}
	ts.forget(carol, bob)
	if !ts.news(carol, bob, true, now.Add(time.Second)) {
		t.Error("after a message it begins anew")
	}
}
