package transaction

import (
	"sync/atomic"

	"github.com/parley-im/parley/transport"
)

// amplification is how many times the size of a request its answer may have while nothing proves that the source address
// of the datagram is genuine.
const amplification = 3

// gate is what one UDP request allows us to send before its source is proven: one datagram for each that came, each of at
// most amplification times the size of the request. Nobody can be flooded through us by a forged source address with more
// packets than the forger sends, so retransmissions of our own are out.
type gate struct {
	size   int32 // of the request, bytes
	credit atomic.Int32
}

// take uses up a datagram. One is kept for the final response while a provisional one is to be sent.
func (g *gate) take(response []byte) bool {
	need := int32(1)
	if isProvisional(response) {
		need = 2
	}
	for {
		have := g.credit.Load()
		if have < need {
			return false
		}
		if g.credit.CompareAndSwap(have, have-1) {
			return true
		}
	}
}

// isProvisional looks at the status line of a rendered response.
func isProvisional(response []byte) bool {
	const code = len("SIP/2.0 ")
	return len(response) > code && response[code] == '1'
}

// admit says whether a response may go to where a datagram came from: on connections and to proven sources always. The
// transport limits how many requests a second it takes from one unproven address, and so the answers to it as well.
func (l *Layer) admit(f transport.Flow, g *gate, response []byte) bool {
	if f.Kind() != transport.UDP || l.transport.Proven(f) {
		return true
	}
	switch {
	case len(response) > amplification*int(g.size):
		l.metrics.withheld.size.Inc()
	case !g.take(response):
		l.metrics.withheld.count.Inc()
	default:
		return true
	}
	return false
}

// prove notes that the peer of a UDP flow receives what we send there.
func (l *Layer) prove(f transport.Flow) {
	if f.Kind() == transport.UDP && !l.transport.Proven(f) {
		l.transport.Prove(f)
	}
}
