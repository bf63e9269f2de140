package crowd

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

// shuffled is the k-th of a sequence in which everybody comes once in n steps, neighbours far apart.
func shuffled(k, n int) int {
	stride := int(float64(n)*0.618) | 1
	for gcd(stride, n) != 1 {
		stride += 2
	}
	return int(int64(k) * int64(stride) % int64(n))
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
