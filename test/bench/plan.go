package main

import (
	"fmt"
	"io"
	"strconv"
)

// A turn is what one server does in a round: it is started, loaded step after step, and stopped.
type turn struct {
	subject   *subject
	transport string // of the load tool
	steps     []step
}

// A step makes one row of the tables.
type step struct {
	id    string   // what is measured; with the subject's id behind it, the row's
	args  []string // of the load tool
	users int
	count []int // idle: measured with so many connections, in this order; the last is users
	cold  bool  // the server is started for it, with so many users, and answers one
}

const pairs = 100 // of users that write to each other

// closed keeps n messages under way.
func closed(transport string, n int) step {
	return step{id: "message/" + transport + "/" + strconv.Itoa(n), users: 2 * pairs, args: []string{"-mode", "message", "-inflight", strconv.Itoa(n)}}
}

// offered has messages fall due at a fixed rate.
func offered(transport string, rate int) step {
	return step{id: "latency/" + transport + "/" + strconv.Itoa(rate), users: 2 * pairs, args: []string{"-mode", "message", "-rate", strconv.Itoa(rate)}}
}

// register has users sign in who are connected, each time with a new challenge.
func register(transport string) step {
	return step{id: "register/" + transport, users: 2 * pairs, args: []string{"-mode", "reregister", "-challenge", "-inflight", "64"}}
}

// connect has users connect and sign in, each once.
func connect(transport string) step {
	return step{id: "connect/" + transport + "/2000", users: 2000, args: []string{"-mode", "register", "-inflight", "64"}}
}

// idle holds connections of which nothing comes.
func idle(transport string) step {
	return step{id: "idle/" + transport, users: 8000, count: []int{2000, 8000}, args: []string{"-mode", "idle"}}
}

// fan has changes of people fall due at a fixed rate who are watched by 200 others each, with a subscription for each pair.
// Nobody changes again within 5 s, nor within that of the first NOTIFY: no server may join two changes into one.
func fan(transport string) step {
	return step{id: "presence/" + transport + "/200", users: 260, args: []string{"presence", "-what", "fan", "-owners", "60", "-every", "6s", "-settle", "6s"}}
}

// plan is a round. Those that are compared come one after the other. Memory is measured on a server that has done nothing
// before.
func plan() []turn {
	cold := step{id: "start/100000", users: 100_000, cold: true}
	return []turn{
		{parley, "udp", []step{closed("udp", 64), offered("udp", 1000), register("udp")}},
		{kamailioDigest, "udp", []step{closed("udp", 64), offered("udp", 1000), register("udp")}},
		{kamailioBare, "udp", []step{closed("udp", 64)}},
		{parley, "tcp", []step{closed("tcp", 64), offered("tcp", 1000), offered("tcp", 5000), register("tcp")}},
		{kamailioDigest, "tcp", []step{closed("tcp", 64), offered("tcp", 1000), register("tcp")}},
		{kamailioBare, "tcp", []step{closed("tcp", 32), closed("tcp", 64)}},
		{parleyRelay, "tcp", []step{closed("tcp", 32)}},
		{parley, "tls", []step{closed("tls", 64), offered("tls", 1000)}},
		{kamailioDigest, "tls", []step{closed("tls", 64), offered("tls", 1000)}},
		{kamailioBare, "tls", []step{closed("tls", 64)}},
		{ejabberdPostgres, "xmpp", []step{closed("xmpp", 64), offered("xmpp", 1000)}},
		{ejabberd, "xmpp", []step{closed("xmpp", 64)}},
		{prosody, "xmpp", []step{closed("xmpp", 64), offered("xmpp", 1000)}},
		{parley, "tcp", []step{idle("tcp"), connect("tcp")}},
		{kamailioBare, "tcp", []step{idle("tcp")}},
		{ejabberd, "xmpp", []step{idle("xmpp"), connect("xmpp")}},
		{prosody, "xmpp", []step{idle("xmpp"), connect("xmpp")}},
		{parley, "tls", []step{idle("tls")}},
		{kamailioBare, "tls", []step{idle("tls")}},
		{parley, "wss", []step{idle("wss")}},
		{parley, "udp", []step{fan("udp")}},
		{kamailioPresence, "udp", []step{fan("udp")}},
		{kamailioPresenceMemory, "udp", []step{fan("udp")}},
		{parley, "tcp", []step{cold}},
		{kamailioDigest, "tcp", []step{cold}},
	}
}

// tiny is the plan with so few users and messages that it takes seconds. It measures nothing.
func tiny(list []turn) []turn {
	for i := range list {
		for j := range list[i].steps {
			s := &list[i].steps[j]
			s.users = 20
			if s.count != nil {
				s.count = []int{10, 20}
			}
			for k, arg := range s.args {
				switch arg {
				case "-inflight":
					s.args[k+1] = "4"
				case "-rate":
					s.args[k+1] = "100"
				case "-owners":
					s.args[k+1] = "2"
				case "-every":
					s.args[k+1] = "500ms"
				case "-settle":
					s.args[k+1] = "10ms"
				}
			}
		}
	}
	return list
}

// quick are the rows that tell within minutes whether Parley has moved.
func quick() []turn {
	return []turn{
		{parley, "udp", []step{closed("udp", 64)}},
		{parley, "tcp", []step{closed("tcp", 64), offered("tcp", 1000), offered("tcp", 5000), register("tcp")}},
		{parley, "tls", []step{closed("tls", 64)}},
		{parleyRelay, "tcp", []step{closed("tcp", 32)}},
	}
}

// turns are those of a round that the options name, with the steps that they name.
func (o *options) turns() []turn {
	all := plan()
	if o.quick {
		all = quick()
	}
	var chosen []turn
	for _, t := range all {
		var steps []step
		for _, s := range t.steps {
			if o.only.MatchString(s.id + "/" + t.subject.id) {
				steps = append(steps, s)
			}
		}
		if t.steps = steps; len(steps) > 0 {
			chosen = append(chosen, t)
		}
	}
	if o.smoke {
		chosen = tiny(chosen)
	}
	return chosen
}

func listRows(w io.Writer, o *options) {
	for _, t := range o.turns() {
		for _, s := range t.steps {
			fmt.Fprintf(w, "%s/%s\n", s.id, t.subject.id)
		}
	}
}
