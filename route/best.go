package route

import (
	"errors"

	"github.com/parley-im/parley/transaction"
	"github.com/parley-im/parley/wire/sip"
)

// result is the end of one branch: a final response, or a status of ours that
// stands for one.
type result struct {
	status  int
	message *sip.Message // nil: made here
	target  Target
}

// results are the ends of all branches so far.
type results struct {
	list []result
}

func (s *results) add(r result) { s.list = append(s.list, r) }

// best chooses the response to forward. RFC 3261 §16.7 step 6: any 6xx first,
// else the lowest class, and inside 4xx what tells how to send the request
// again. Nothing at all is 408. When the caller has cancelled, 487 is what it
// waits for.
func (s *results) best(cancelled bool) result {
	best := result{status: 408}
	if cancelled {
		best.status = 487
	}
	top := 1 << 30
	for _, r := range s.list {
		if n := rank(r.status, cancelled); n < top {
			best, top = r, n
		}
	}
	if cancelled && best.message == nil {
		best.status = 487
	}
	return best
}

// rank orders final responses; the lowest is the best.
func rank(status int, cancelled bool) int {
	if status >= 600 {
		return 0
	}
	n := status / 100 * 100
	if n != 400 {
		if status == 503 {
			return n + 50
		}
		return n
	}
	switch status {
	case 401, 407:
		return n + 1
	case 415, 420, 484, 422, 488:
		return n + 2
	case 486:
		return n + 3
	case 480:
		return n + 5
	case 404, 410:
		return n + 6
	case 482, 440, 483:
		return n + 7
	case 408:
		return n + 8
	case 430:
		return n + 9
	case 487:
		if cancelled {
			return n
		}
		return n + 10
	}
	return n + 4
}

// upstream is the status that goes upstream for a result.
func (r result) upstream(inDialog bool) int {
	switch {
	case r.status == 503:
		// RFC 3261 §16.7 step 6: a 503 would speak for all requests.
		return 500
	case r.status == 430 && !inDialog:
		// RFC 5626 §7: this server is authoritative, no other flow is left.
		return 480
	}
	return r.status
}

// options say more where the status alone says little.
func (r result) options() []Option {
	switch {
	case r.status == 430:
		return []Option{Warn("the device's connection is gone")}
	case r.status == 440:
		return []Option{Warn("the request asks for more parallel branches than it may have")}
	case r.status == 482:
		return []Option{Warn("the addresses registered here forward to each other")}
	}
	return nil
}

// challenge is one header row with a challenge.
type challenge struct {
	id    sip.HeaderID
	value string
}

// challenges are those of the other 401 and 407 responses, to be added to a
// chosen one. RFC 3261 §16.7 step 7.
func (s *results) challenges(best result, ours func(string) bool) []challenge {
	if best.status != 401 && best.status != 407 {
		return nil
	}
	var out []challenge
	for _, r := range s.list {
		if r.message == nil || r.message == best.message || r.status != 401 && r.status != 407 {
			continue
		}
		for _, id := range challengeIDs {
			for v := range r.message.Each(id) {
				if !ours(v) {
					out = append(out, challenge{id, v})
				}
			}
		}
	}
	return out
}

func isTimeout(err error) bool { return errors.Is(err, transaction.ErrTimeout) }
