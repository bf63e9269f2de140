package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// matrix is one run: the clients, what they said, and the table.
type matrix struct {
	lab    *lab
	server *target
	parley *parley // nil when the server is not ours
	report *report

	baresips  []*baresip
	linphones []*linphone
	purples   []*purple
	sipps     []*sipp
	pages     []*page // two users over WS; the first of them comes back over WSS
	secure    *page
	webs      []*web // Parley's own pages of two people over HTTP; the first of them comes back over HTTPS
	secureWeb *web
	browser   *browser

	id       string          // in every text of the run, so that no other run's text is taken for ours
	signedIn map[client]bool // written only between steps
	messages []sent
	words    int
}

// sent is a message of the run.
type sent struct {
	word     string // in no other message
	text     string
	from, to string // users

	began, ended time.Time // it was recorded between them; zero unless somebody asks
}

// The tones that clients play in calls, in Hz. Neither is a harmonic of the other.
const (
	baresipTone  = 525
	linphoneTone = 850
)

func newMatrix(l *lab, server *target, own *parley, bin string, b *browser) (*matrix, error) {
	m := &matrix{lab: l, server: server, parley: own, report: &report{}, browser: b,
		id: strings.ToLower(rand.Text()[:6]), signedIn: map[client]bool{}}
	for file, tone := range map[string]float64{"baresip.wav": baresipTone, "linphone.wav": linphoneTone} {
		if err := writeTone(filepath.Join(l.dir, file), tone, 60); err != nil {
			return nil, err
		}
	}
	named := func(label string) account { return account{lab: l, server: server, name: label} }
	for _, transport := range []string{"udp", "tcp", "tls"} {
		m.baresips = append(m.baresips, &baresip{account: named("baresip/" + transport), play: filepath.Join(l.dir, "baresip.wav")})
		m.linphones = append(m.linphones, &linphone{native: native{account: named("linphone/" + transport)}, program: filepath.Join(bin, "linphone")})
	}
	for _, transport := range []string{"udp", "tcp"} {
		m.purples = append(m.purples, &purple{native: native{account: named("purple/" + transport)}, program: filepath.Join(bin, "purple")})
		m.sipps = append(m.sipps, &sipp{account: named("sipp/" + transport)})
	}
	for _, person := range []string{"jssip", "jssip2"} {
		m.pages = append(m.pages, &page{account: named(person + "/ws"), person: person, instance: uuid(), browser: b})
	}
	m.secure = &page{account: named("jssip/wss"), person: "jssip", instance: m.pages[0].instance, browser: b}
	if own != nil {
		onWeb := func(person, transport string) *web {
			return &web{account: named(person + "/" + transport), person: person, parley: own, browser: b}
		}
		m.webs = []*web{onWeb("page", "http"), onWeb("page2", "http")}
		m.secureWeb = onWeb("page", "https")
		m.baresips[0].watches = append(m.baresips[0].watches, address(m.webs[0]))
	}
	for _, c := range m.baresips {
		for _, peer := range m.clients() {
			c.peers = append(c.peers, address(peer))
		}
	}
	for _, peer := range []client{m.linphones[1], m.purples[1], m.pages[0]} {
		m.baresips[0].watches = append(m.baresips[0].watches, address(peer))
	}
	return m, nil
}

// clients are all that are signed in together.
func (m *matrix) clients() []client {
	var all []client
	for _, c := range m.baresips {
		all = append(all, c)
	}
	for _, c := range m.linphones {
		all = append(all, c)
	}
	for _, c := range m.purples {
		all = append(all, c)
	}
	for _, c := range m.sipps {
		all = append(all, c)
	}
	for _, c := range m.pages {
		all = append(all, c)
	}
	for _, c := range m.webs {
		all = append(all, c)
	}
	return all
}

// run takes all steps in order. An error means that going on makes no sense; a failed row is no error.
func (m *matrix) run(ctx context.Context, only string) error {
	m.signIn(ctx, m.clients()...)
	switch only {
	case "presence":
		m.presence(ctx)
		return nil
	case "files":
		m.files(ctx)
		return nil
	case "page":
		m.said(ctx)
		return nil
	}
	m.exchange(ctx)
	m.receipts(ctx)
	m.typing(ctx)
	m.said(ctx)
	m.files(ctx)
	m.callWithTones(ctx, "baresip/udp calls linphone/tcp", m.baresips[0], m.linphones[1], true)
	m.callWithTones(ctx, "linphone/tls calls baresip/tcp", m.baresips[1], m.linphones[2], false)
	m.callBetweenPages(ctx)
	if m.parley == nil {
		m.signIn(ctx, m.secure)
		return nil
	}
	m.presence(ctx)
	if err := m.absence(ctx); err != nil {
		return err
	}
	m.archive(ctx)
	return nil
}

// signIn starts clients, all at once, and makes a row for each.
func (m *matrix) signIn(ctx context.Context, clients ...client) {
	passed := make([]bool, len(clients))
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() {
			_, transport, _ := strings.Cut(c.label(), "/")
			what := fmt.Sprintf("%s over %s", kind(c), strings.ToUpper(transport))
			passed[i] = m.report.check("sign-in", what, func() (string, error) { return "registered", c.signIn(ctx) })
		})
	}
	group.Wait()
	for i, c := range clients {
		m.signedIn[c] = passed[i]
	}
}

// ready is nil when all of the clients are signed in; it keeps later rows from waiting for clients that are not there.
func (m *matrix) ready(clients ...client) error {
	for _, c := range clients {
		if !m.signedIn[c] {
			return fmt.Errorf("clients: %s is not signed in", c.label())
		}
	}
	return nil
}

// word makes a word that is in no other text.
func (m *matrix) word() string {
	m.words++
	return fmt.Sprintf("w%02d%s", m.words, m.id)
}

// compose makes the next message: umlauts, other scripts, signs that mean something in HTML, JSON and SIP, three lines.
func (m *matrix) compose(from, to client) sent {
	word := m.word()
	text := word + " Grüße aus Zürich: äöüß, 5 €, 漢字\n" +
		"zweite Zeile: <b>kein HTML</b> & \"Anführung\"; 100 %\n" +
		"Ende von " + from.user()
	s := sent{word: word, text: text, from: from.user(), to: to.user()}
	m.messages = append(m.messages, s)
	return s
}

// exchange lets every kind of client write to every other kind. Over the pairs each client takes turns over its
// transports, so that every transport sends and receives.
func (m *matrix) exchange(ctx context.Context) {
	kinds := map[string][]client{}
	var order []string
	for _, c := range m.clients() {
		if kind(c) == "jssip2" || kind(c) == "page2" {
			continue
		}
		if kinds[kind(c)] == nil {
			order = append(order, kind(c))
		}
		kinds[kind(c)] = append(kinds[kind(c)], c)
	}
	sends, receives := map[string]int{}, map[string]int{}
	for _, a := range order {
		for _, b := range order {
			if a == b {
				continue
			}
			from, to := kinds[a][sends[a]%len(kinds[a])], kinds[b][receives[b]%len(kinds[b])]
			sends[a]++
			receives[b]++
			m.message(ctx, from, to)
		}
	}
}

// receipts: a message in CPIM (RFC 3862) asks for delivered and displayed receipts (RFC 5438), which come back.
func (m *matrix) receipts(ctx context.Context) {
	from, to := m.linphones[0], m.linphones[2]
	m.report.check("receipts", from.label()+" → "+to.label(), func() (string, error) {
		if err := m.ready(from, to); err != nil {
			return "", err
		}
		for _, c := range []*linphone{from, to} {
			if err := c.setCPIM(true); err != nil {
				return "", err
			}
			defer func() { _ = c.setCPIM(false) }()
		}
		message := m.compose(from, to)
		if err := from.send(ctx, address(to), message.text); err != nil {
			return "", err
		}
		if _, err := to.received(ctx, from.user(), message.text); err != nil {
			return "", err
		}
		if err := from.awaitSent(ctx, message.text, "DeliveredToUser"); err != nil {
			return "", err
		}
		if err := to.read(address(from)); err != nil {
			return "", err
		}
		return "CPIM; delivered and displayed came back", from.awaitSent(ctx, message.text, "Displayed")
	})
}

// typing: is-composing (RFC 3994) passes between liblinphone and libpurple.
func (m *matrix) typing(ctx context.Context) {
	type composer interface {
		client
		typing(to string) error
		composing(ctx context.Context, mark int, from string) error
	}
	check := func(from, to composer, target string, mark int) {
		m.report.check("typing", from.label()+" → "+to.label(), func() (string, error) {
			if err := m.ready(from, to); err != nil {
				return "", err
			}
			if err := from.typing(target); err != nil {
				return "", err
			}
			return "seen", to.composing(ctx, mark, from.user())
		})
	}
	linphone, purple := m.linphones[1], m.purples[0]
	if m.ready(linphone, purple) != nil {
		check(linphone, purple, "", 0)
		return
	}
	check(linphone, purple, address(purple), purple.journal.mark())
	check(purple, linphone, linphone.user()+"@"+domain, linphone.journal.mark())
}

// absence: one of each kind leaves, others write to it, the server is stopped and started again, and each finds its
// message when it comes back; the server says when it was written.
func (m *matrix) absence(ctx context.Context) error {
	returning := []client{m.baresips[1], m.linphones[2], m.purples[0], m.sipps[0], m.pages[0], m.webs[0]}
	writers := []client{m.linphones[0], m.baresips[0], m.sipps[1], m.baresips[2], m.purples[1], m.linphones[1]}
	away := []client{m.webs[1]} // pages do not outlive the change from HTTP to HTTPS, which is another origin
	var group sync.WaitGroup
	for _, c := range append(away, returning...) {
		group.Go(c.signOut)
		m.signedIn[c] = false
	}
	group.Wait()

	left := make([]sent, len(returning))
	for i, to := range returning {
		from := writers[i]
		m.report.check("absent", from.label()+" leaves a message for "+kind(to), func() (string, error) {
			if err := m.ready(from); err != nil {
				return "", err
			}
			left[i] = m.compose(from, to)
			left[i].began = time.Now()
			if err := from.send(ctx, address(to), left[i].text); err != nil {
				return "", err
			}
			// Not every client tells when it was answered, and the server stops next.
			err := m.recorded(ctx, left[i])
			left[i].ended = time.Now()
			return "recorded", err
		})
	}
	when := time.Now()
	if err := m.restart(ctx, "auto"); err != nil {
		return err
	}
	// The time that is shown must be told apart from the time of arrival.
	const gap = 4 * time.Second
	select {
	case <-time.After(time.Until(when.Add(gap))):
	case <-ctx.Done():
		return ctx.Err()
	}
	returning[4], returning[5] = m.secure, m.secureWeb
	m.signIn(ctx, returning...)
	for i, c := range returning {
		m.report.check("absent", c.label()+" finds it when it returns", func() (string, error) {
			if err := m.ready(c); err != nil {
				return "", err
			}
			if c == client(m.secureWeb) {
				if _, err := m.secureWeb.do(ctx, "unread", left[i].from+"@"+domain, "1"); err != nil {
					return "", err
				}
			}
			shown, err := c.received(ctx, left[i].from, left[i].text)
			if err != nil {
				return "", err
			}
			return originalTime(c, shown, left[i])
		})
	}
	m.message(ctx, m.secure, m.baresips[1])
	m.message(ctx, m.secureWeb, m.baresips[1])
	return nil
}

// originalTime judges the time that a client shows for a message that was delivered some seconds after it was recorded.
func originalTime(c client, shown time.Time, message sent) (string, error) {
	switch kind(c) {
	case "baresip", "purple":
		return "this client shows no time", nil
	case "page":
		return "with one unread message; this client shows no seconds", nil
	}
	if shown.IsZero() {
		return "", fmt.Errorf("clients: it came without a Date")
	}
	// Date has whole seconds.
	if shown.Before(message.began.Truncate(time.Second)) || shown.After(message.ended.Add(time.Second)) {
		return "", fmt.Errorf("clients: shown as written at %s, but it was between %s and %s", shown.UTC().Format(time.TimeOnly),
			message.began.UTC().Format(time.TimeOnly), message.ended.UTC().Format(time.TimeOnly))
	}
	return "with its original time", nil
}

// restart stops the server while clients are signed in, and starts it with another setting of http.tls.
func (m *matrix) restart(ctx context.Context, web string) error {
	const limit = 20 * time.Second // far more than it gives its peers, and less than any of them would need to go by itself
	m.report.check("server", "stops while clients are signed in", func() (string, error) {
		took, err := m.parley.stop()
		if err == nil && took > limit {
			err = fmt.Errorf("clients: it took %v, more than %v", took, limit)
		}
		return "", err
	})
	if err := m.parley.configure(web); err != nil {
		return err
	}
	var err error
	m.report.check("server", "starts again", func() (string, error) {
		err = m.parley.serve(ctx)
		return "ready", err
	})
	return err
}

// recorded waits until a message is in the archive.
func (m *matrix) recorded(ctx context.Context, message sent) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := m.parley.archived(ctx, message.word, message)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// archive looks for every message of the run.
func (m *matrix) archive(ctx context.Context) {
	m.report.check("archive", fmt.Sprintf("all %d messages are on record", len(m.messages)), func() (string, error) {
		for _, message := range m.messages {
			if err := m.parley.archived(ctx, message.word, message); err != nil {
				return "", err
			}
		}
		return "found with text, sender and recipient", nil
	})
}

// uuid makes a random UUID (RFC 9562 §5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
