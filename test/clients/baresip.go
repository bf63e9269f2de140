package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"
)

//go:embed baresip/config.tmpl sipp/*.xml
var files embed.FS

// baresip drives baresip 1.0 through its ctrl_tcp module: commands and events are JSON in netstrings. Texts that it
// receives appear on its console only.
type baresip struct {
	account
	peers   []string // whom it may write to: it sends texts to an entry of its contact list
	watches []string // those of them whose presence it subscribes to
	play    string   // the wav that it plays in a call

	dir     string
	process *process
	console *console

	control net.Conn
	replies chan string
	events  *baresipEvents

	mu      sync.Mutex
	contact int // the current entry of the contact list
}

type baresipEvent struct {
	Response bool   `json:"response"`
	Data     string `json:"data"`
	Type     string `json:"type"`
	Peer     string `json:"peeruri"`
	Param    string `json:"param"`
}

type baresipEvents struct {
	changes
	list []baresipEvent
}

func (b *baresip) signIn(ctx context.Context) error {
	sip, err := b.lab.ports(2) // baresip takes the next one for TLS
	if err != nil {
		return err
	}
	control, err := b.lab.ports(1)
	if err != nil {
		return err
	}
	rtp, err := b.lab.ports(10)
	if err != nil {
		return err
	}
	// A new folder each time: baresip remembers its current contact.
	if b.dir, err = os.MkdirTemp(b.lab.dir, b.user()+"-"); err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	if err := b.configure(sip, control, rtp); err != nil {
		return err
	}
	b.console, b.events, b.contact = &console{}, &baresipEvents{}, 0
	cmd := exec.Command("baresip", "-f", b.dir)
	if b.process, err = b.lab.start(b.user(), cmd, b.console, b.console); err != nil {
		return err
	}
	if _, err := b.console.await(ctx, patience, "start", func(s string) bool { return strings.Contains(s, "baresip is ready") }); err != nil {
		return err
	}
	if b.control, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", control)); err != nil {
		return fmt.Errorf("clients: baresip's control port: %w", err)
	}
	b.replies = make(chan string, 16)
	go b.read(b.control, b.replies, b.events)
	_, err = b.console.await(ctx, patience, "registration", func(s string) bool {
		return strings.Contains(s, b.user()+"@"+domain+": {0/"+strings.ToUpper(b.transport())+"/v4} 200 ")
	})
	return err
}

func (b *baresip) configure(sip, control, rtp int) error {
	certificate := filepath.Join(b.dir, "client.pem")
	if err := writeCertificate(certificate); err != nil {
		return err
	}
	config, err := os.Create(filepath.Join(b.dir, "config"))
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	defer config.Close()
	t := template.Must(template.ParseFS(files, "baresip/config.tmpl"))
	if err := t.Execute(config, map[string]any{
		"SIP": sip, "Control": control, "RTP": rtp, "RTPEnd": rtp + 9,
		"Dir": b.dir, "Play": b.play, "Certificate": certificate,
	}); err != nil {
		return fmt.Errorf("clients: baresip's configuration: %w", err)
	}
	route := fmt.Sprintf("sip:%s;transport=%s", b.server.sipAddress(b.transport()), b.transport())
	accounts := fmt.Sprintf("<sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=%s;outbound=\"%s\";regint=300;pubint=300;answermode=auto;audio_codecs=PCMU/8000/1\n",
		b.user(), domain, b.transport(), b.user(), b.server.password, route)
	var contacts strings.Builder
	for _, peer := range b.peers {
		presence := ""
		if slices.Contains(b.watches, peer) {
			presence = ";presence=p2p" // as it calls an ordinary subscription
		}
		fmt.Fprintf(&contacts, "\"%s\" <%s>%s\n", peer, peer, presence)
	}
	for name, content := range map[string]string{"accounts": accounts, "contacts": contacts.String()} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("clients: %w", err)
		}
	}
	return nil
}

// read takes netstrings from the control connection until it ends.
func (b *baresip) read(conn net.Conn, replies chan<- string, events *baresipEvents) {
	defer events.end()
	defer close(replies)
	r := bufio.NewReader(conn)
	for {
		text, err := readNetstring(r)
		if err != nil {
			return
		}
		var e baresipEvent
		if json.Unmarshal(text, &e) != nil {
			continue
		}
		if e.Response {
			replies <- e.Data
		} else {
			events.update(func() { events.list = append(events.list, e) })
		}
	}
}

// readNetstring reads "LENGTH:BYTES,".
func readNetstring(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil || n < 0 || n > 1<<20 {
		return nil, fmt.Errorf("clients: not a netstring: %q", head)
	}
	text := make([]byte, n+1)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	if text[n] != ',' {
		return nil, fmt.Errorf("clients: a netstring without its comma")
	}
	return text[:n], nil
}

// command runs one of baresip's long commands and returns what it answers.
func (b *baresip) command(ctx context.Context, name, params string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commandLocked(ctx, name, params)
}

func (b *baresip) commandLocked(ctx context.Context, name, params string) (string, error) {
	text, err := json.Marshal(map[string]string{"command": name, "params": params})
	if err != nil {
		return "", fmt.Errorf("clients: %w", err)
	}
	if _, err := fmt.Fprintf(b.control, "%d:%s,", len(text), text); err != nil {
		return "", fmt.Errorf("clients: tell %s: %w", b.name, err)
	}
	select {
	case reply, ok := <-b.replies:
		if !ok {
			return "", fmt.Errorf("clients: %s: %w", b.name, errEnded)
		}
		return reply, nil
	case <-time.After(patience):
		return "", fmt.Errorf("clients: %s does not answer %q", b.name, name)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// send walks the contact list to the recipient, for baresip writes to its current contact.
func (b *baresip) send(ctx context.Context, to, text string) error {
	want := -1
	for i, peer := range b.peers {
		if peer == to {
			want = i
		}
	}
	if want < 0 {
		return fmt.Errorf("clients: %s is not in the contacts of %s", to, b.name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.contact != want {
		step, by := "contact_next", 1
		if want < b.contact {
			step, by = "contact_prev", -1
		}
		reply, err := b.commandLocked(ctx, step, "")
		if err != nil {
			return err
		}
		b.contact += by
		if !strings.Contains(reply, "<"+b.peers[b.contact]+">") {
			return fmt.Errorf("clients: baresip did not turn to %s: %s", b.peers[b.contact], strings.TrimSpace(reply))
		}
	}
	_, err := b.commandLocked(ctx, "message", text)
	return err
}

// received waits for the line that baresip prints: sip:peer@domain: "text". It shows no time.
func (b *baresip) received(ctx context.Context, from, text string) (time.Time, error) {
	line := fmt.Sprintf("sip:%s@%s: \"%s\"\n", from, domain, text)
	_, err := b.console.await(ctx, patience, fmt.Sprintf("message %q", firstLine(text)), func(s string) bool {
		return strings.Contains(s, line)
	})
	return time.Time{}, err
}

// awaitCall waits for an event of a call, such as CALL_ESTABLISHED or CALL_CLOSED, later than mark.
func (b *baresip) awaitCall(ctx context.Context, mark int, kind string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := b.events.await(ctx, func() bool {
		for _, e := range b.events.list[mark:] {
			if e.Type == kind {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("clients: %s saw no %s: %w", b.name, kind, err)
	}
	return nil
}

func (b *baresip) mark() int {
	b.events.mu.Lock()
	defer b.events.mu.Unlock()
	return len(b.events.list)
}

func (b *baresip) signOut() {
	if b.process == nil {
		return
	}
	_, _ = b.process.stop(3*time.Second, func() { _, _ = b.command(context.Background(), "quit", "") })
	if b.control != nil {
		_ = b.control.Close()
	}
	b.process = nil
}
