package server

import (
	"encoding/json"
	"net/netip"

	"github.com/parley-im/parley/base/errs"
)

// Demo is what the sign-in page of a demonstration offers to everybody.
type Demo struct {
	Password string       `json:"password"` // of all of them
	People   []DemoPerson `json:"people"`
}

// DemoPerson is one of the people of a demonstration.
type DemoPerson struct {
	Address string `json:"address"`
	Name    string `json:"name"`
	Title   string `json:"title"`
}

// Demonstrate lets the sign-in page offer people together with their password, at /demo.json. It must be called before Serve,
// and refuses (errs.Forbidden) unless the door for browsers is on a loopback address: no configuration and no flag of `parley
// serve` leads here.
func (s *Server) Demonstrate(d Demo) error {
	a, err := netip.ParseAddrPort(s.HTTP())
	if err != nil || !a.Addr().IsLoopback() {
		return errs.New(errs.Forbidden, "server: a demonstration tells its password to everybody, so http.listen must be on 127.0.0.1")
	}
	s.demo, err = json.Marshal(d)
	return errs.Wrap(errs.Internal, err, "server: preparing the demonstration")
}
