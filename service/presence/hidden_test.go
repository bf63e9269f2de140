package presence

import (
	"testing"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/policy"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/wire/pidf"
)

// Who looks offline, and to whom.
func TestHidden(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		check := func(what, from string, want bool) {
			t.Helper()
			got := make(chan bool, 1)
			r.AskHidden(alice, from, func(hidden bool) { got <- hidden })
			if asked := <-got; asked != want {
				t.Errorf("%s: asked %v", what, asked)
			}
			r.mu.Lock()
			cold := r.cold
			r.mu.Unlock()
			if now := r.Hidden(alice, from); now != want && !cold {
				t.Errorf("%s: %v", what, now)
			}
			settle()
		}
		check("nothing is known", bob, false)
		r.signIn(alice, "a")
		check("she is there", bob, false)
		r.level(alice, bob, policy.Blocked)
		check("he is blocked", bob, true)
		check("others are not", carol, false)
		r.mu.Lock()
		r.cold = true
		r.mu.Unlock()
		check("the list is not in memory", bob, true)
		check("others, then", carol, false)
		r.fail(errs.New(errs.Unavailable, "rig: the store does not answer"))
		check("nobody knows", carol, true)
		r.fail(nil)
		r.mu.Lock()
		r.cold = false
		r.mu.Unlock()
		err := r.Set(t.Context(), Actor{Name: alice}, alice, compose.Manual{State: pidf.Offline, Until: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		check("she appears offline", carol, true)
		check("to herself she does not", alice, false)
		wait(2 * time.Hour)
		check("that is over", carol, false)
	})
}
