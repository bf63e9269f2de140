package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// native is what the two clients written in C share: see native/events.h.
type native struct {
	account
	process *process
	journal *journal
}

func (n *native) launch(cmd *exec.Cmd) error {
	n.journal = &journal{}
	var err error
	n.process, err = n.lab.start(n.user(), cmd, n.journal, nil)
	return err
}

func (n *native) send(_ context.Context, to, text string) error {
	return n.process.command("message", to, text)
}

func (n *native) received(ctx context.Context, from, text string) (time.Time, error) {
	e, err := n.journal.await(ctx, patience, 0, fmt.Sprintf("message %q", firstLine(text)), func(e event) bool {
		return e.Event == "message" && isFrom(e.From, from) && same(text, e.Text)
	})
	return time.Unix(e.Time, 0), err
}

// typing tells a peer that its user is writing.
func (n *native) typing(to string) error { return n.process.command("typing", to) }

// composing waits until the client shows that a user is writing.
func (n *native) composing(ctx context.Context, mark int, from string) error {
	_, err := n.journal.await(ctx, patience, mark, from+" is typing", func(e event) bool {
		return e.Event == "composing" && e.State == "active" && isFrom(e.From, from)
	})
	return err
}

func (n *native) signOut() {
	if n.process == nil {
		return
	}
	_, _ = n.process.stop(4*time.Second, func() { _ = n.process.command("quit") })
	n.process = nil
}

// linphone drives liblinphone through native/linphone.c.
type linphone struct {
	native
	program string
}

func (c *linphone) signIn(ctx context.Context) error {
	// One folder for all its lives: liblinphone keeps its instance id there, so it stays one device.
	dir, err := c.lab.folder(c.user())
	if err != nil {
		return err
	}
	rtp, err := c.lab.ports(22)
	if err != nil {
		return err
	}
	server := fmt.Sprintf("<sip:%s;transport=%s>", c.server.sipAddress(c.transport()), c.transport())
	identity := "sip:" + c.user() + "@" + domain
	cmd := exec.Command(c.program, dir+"/", identity, server, c.server.password, fmt.Sprint(rtp))
	if c.server.ca != "" {
		cmd.Args = append(cmd.Args, c.server.ca)
	}
	if err := c.launch(cmd); err != nil {
		return err
	}
	e, err := c.journal.await(ctx, patience, 0, "registration", func(e event) bool {
		return e.Event == "registration" && (e.State == "LinphoneRegistrationOk" || e.State == "LinphoneRegistrationFailed")
	})
	if err == nil && e.State != "LinphoneRegistrationOk" {
		err = fmt.Errorf("clients: registration refused: %s", e.Text)
	}
	return err
}

// setCPIM switches CPIM, and with it receipts, on or off. liblinphone signs in again when its account is edited.
func (c *linphone) setCPIM(on bool) error {
	value := map[bool]string{true: "on", false: "off"}[on]
	return c.process.command("cpim", value)
}

// read marks what came from a user as read.
func (c *linphone) read(from string) error { return c.process.command("read", from) }

// record makes the next call play one wav and write what it hears to another.
func (c *linphone) record(play, hear string) error { return c.process.command("audio", play, hear) }

// awaitSent waits for a state of a message that this client sent.
func (c *linphone) awaitSent(ctx context.Context, text, state string) error {
	_, err := c.journal.await(ctx, patience, 0, state, func(e event) bool {
		return e.Event == "sent" && strings.HasSuffix(e.State, "State"+state) && same(text, e.Text)
	})
	return err
}

func (c *linphone) awaitCall(ctx context.Context, mark int, state string) error {
	_, err := c.journal.await(ctx, patience, mark, "call "+state, func(e event) bool {
		return e.Event == "call" && strings.HasSuffix(e.State, state)
	})
	return err
}

// purple drives libpurple's SIMPLE through native/purple.c.
type purple struct {
	native
	program string
}

func (c *purple) signIn(ctx context.Context) error {
	dir, err := c.lab.folder(c.user())
	if err != nil {
		return err
	}
	host, port, _ := strings.Cut(c.server.sipAddress(c.transport()), ":")
	cmd := exec.Command(c.program, dir, c.user()+"@"+domain, c.server.password, host, port, c.transport())
	if err := c.launch(cmd); err != nil {
		return err
	}
	e, err := c.journal.await(ctx, patience, 0, "registration", func(e event) bool { return e.Event == "registration" })
	if err == nil && e.State != "Ok" {
		err = fmt.Errorf("clients: registration refused: %s", e.Text)
	}
	return err
}

// received: libpurple shows when a text came, not when it was sent.
func (c *purple) received(ctx context.Context, from, text string) (time.Time, error) {
	_, err := c.native.received(ctx, from, text)
	return time.Time{}, err
}

// send gives libpurple the bare address: it puts "sip:" in front of what it sends.
func (c *purple) send(ctx context.Context, to, text string) error {
	return c.native.send(ctx, strings.TrimPrefix(to, "sip:"), text)
}

// buildNative compiles the two clients; it returns the folder with the programs.
func buildNative(ctx context.Context, l *lab) (string, error) {
	bin, err := l.folder("bin")
	if err != nil {
		return "", err
	}
	flags, err := l.run(ctx, patience, "", "pkg-config", "--cflags", "--libs", "purple", "glib-2.0")
	if err != nil {
		return "", err
	}
	sources := filepath.Join(l.root, "test", "clients", "native")
	for name, libraries := range map[string][]string{
		"linphone": {"-llinphone", "-lbctoolbox"},
		"purple":   strings.Fields(flags),
	} {
		args := []string{"-O1", "-Wall", "-Wno-deprecated-declarations", "-o", filepath.Join(bin, name), filepath.Join(sources, name+".c")}
		if _, err := l.run(ctx, time.Minute, "", compiler(), append(args, libraries...)...); err != nil {
			return "", err
		}
	}
	return bin, nil
}

func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return cc
	}
	return "gcc"
}
