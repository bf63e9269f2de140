package transaction

import (
	"fmt"
	"strings"
	"testing"
)

// TestLongBranch: branches and tags of any length are matched and answered: hostile row 3.
func TestLongBranch(t *testing.T) {
	run(t, Options{}, func(r *rig) {
		r.onRequest = func(s *Server) { s.Reply(200, "") }
		lengths := []int{1, 2}
		for _, edge := range []int{16, 32, 40, 64, 128, 256, 512, 1024, 2048, 4096} {
			for n := edge - 2; n <= edge+2; n++ {
				lengths = append(lengths, n)
			}
		}
		for i, n := range lengths {
			for _, cookie := range []string{cookie, ""} {
				text := request("MESSAGE", cookie+strings.Repeat("b", n))
				text = strings.Replace(text, "tag=a1", "tag="+strings.Repeat("t", n), 1)
				text = strings.Replace(text, "Call-ID: 9", fmt.Sprintf("Call-ID: %d", i), 1)
				before := len(r.servers)
				r.receive(r.udp, text)
				r.receive(r.udp, text)
				if got := len(r.servers) - before; got != 1 {
					t.Errorf("length %d, cookie %q: %d transactions", n, cookie, got)
				}
				if m := r.last(); m.Status() != 200 || m.FromTag() != strings.Repeat("t", n) {
					t.Errorf("length %d, cookie %q: answer\n%s", n, cookie, m.Bytes())
				}
			}
		}
		r.onRequest = nil
		r.mu.Lock()
		r.log = nil
		r.mu.Unlock()
	})
}

// FuzzBranch: no branch is taken for ours but one that we made.
func FuzzBranch(f *testing.F) {
	s := newSealer()
	good := s.makeBranch(slotID{1, 2})
	f.Add(good)
	f.Add(strings.ToUpper(good))
	f.Add(good[:len(good)-1])
	f.Add(cookie)
	f.Add("")
	f.Fuzz(func(t *testing.T, branch string) {
		id, ok := s.openBranch(branch)
		if ok && !strings.EqualFold(branch, s.makeBranch(id)) {
			t.Errorf("%q was taken for %v", branch, id)
		}
	})
}

func BenchmarkBranch(b *testing.B) {
	s := newSealer()
	good := s.makeBranch(slotID{1, 2})
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.makeBranch(slotID{1, 2})
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.openBranch(good)
		}
	})
}
