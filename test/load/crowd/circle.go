package crowd

import "math/rand/v2"

// A circle says who has whom in the list of contacts: n people, each with k contacts, k even and less than n. Contacts
// are at fixed distances to both sides, so that they know each other, and everybody is in k lists.
type circle struct {
	n     int
	steps []int
	slots map[int]int // the place in the list by distance
}

func newCircle(n, k int) *circle {
	c := &circle{n: n, slots: map[int]int{}}
	for j := range k / 2 {
		step := 1 + j*((n-1)/2)/(k/2)
		for _, s := range []int{step, n - step} {
			c.slots[s] = len(c.steps)
			c.steps = append(c.steps, s)
		}
	}
	return c
}

// contact is who stands at a place in somebody's list.
func (c *circle) contact(of, slot int) int { return (of + c.steps[slot]) % c.n }

// slot is the place of somebody in a list; ok is false when it is no contact.
func (c *circle) slot(of, who int) (slot int, ok bool) {
	slot, ok = c.slots[(who-of+c.n)%c.n]
	return slot, ok
}

// shuffled is an order of n people, the same in each run. Who comes again and again in this order comes at even distances,
// and contacts do at random ones.
func shuffled(n int) []int {
	return rand.New(rand.NewPCG(20, 26)).Perm(n) //nolint:gosec // no secret
}
