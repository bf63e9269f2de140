package ledger

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

// Ack is when and how a message was acknowledged to its sender.
type Ack struct {
	At     time.Time
	Status int
}

// Missing is a message that was acknowledged and has not arrived.
type Missing struct {
	Word              string // that no other message has; "" for a receipt, which cannot be looked up
	From, To          string // addresses
	Device, Transport string // of the receiver
	Ack               Ack
	Diary             *Diary // of the receiver's device
}

// Explain says in one line what everybody knows of a missing message: its sender, the archive, the server's table of those
// who are signed in, and the receiver's device. Times are seconds before now.
func (m Missing) Explain(ctx context.Context, api *parley.Client) string {
	now := time.Now()
	what := m.Word
	if what == "" {
		what = "a receipt"
	}
	line := fmt.Sprintf("%s from %s to %s (device %s, %s)", what, m.From, m.To, m.Device, m.Transport)
	if m.Ack.Status != 0 {
		line += fmt.Sprintf(": %d %s ago", m.Ack.Status, since(now, m.Ack.At))
	}
	if m.Word != "" {
		line += "; archive: " + m.archive(ctx, api, now)
	}
	return line + "; server: " + m.bindings(ctx, api, now) + "; device: " + m.Diary.said(now)
}

func since(now, at time.Time) string { return fmt.Sprintf("%.1f s", now.Sub(at).Seconds()) }

// archive says whether the message is on record, and with which outcomes.
func (m Missing) archive(ctx context.Context, api *parley.Client, now time.Time) string {
	found, err := api.Archive.Search(ctx, connect.NewRequest(&v1.SearchRequest{Words: m.Word, Kinds: []string{"message"}}))
	if err != nil {
		return parley.Reason(err)
	}
	if len(found.Msg.Records) == 0 {
		return "not on record"
	}
	r := found.Msg.Records[0]
	line := fmt.Sprintf("no. %d, %s ago, ", r.Seq, since(now, r.Time.AsTime()))
	fates, err := api.Archive.Search(ctx, connect.NewRequest(&v1.SearchRequest{
		Person: m.To, Kinds: []string{"delivery"}, After: r.Seq, OldestFirst: true, Limit: 1000,
	}))
	if err != nil {
		return line + parley.Reason(err)
	}
	var list []string
	for _, f := range fates.Msg.Records {
		if f.Ref == r.Id {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s at %s %s ago %s %s",
				f.Meta["outcome"], f.Device, since(now, f.Time.AsTime()), f.Meta["status"], f.Meta["reason"])))
		}
	}
	if list == nil {
		return line + "pending"
	}
	return line + strings.Join(list, ", ")
}

// bindings says where the server believes the receiver to be.
func (m Missing) bindings(ctx context.Context, api *parley.Client, now time.Time) string {
	u, err := api.Users.GetUser(ctx, connect.NewRequest(&v1.GetUserRequest{Address: m.To}))
	if err != nil {
		return parley.Reason(err)
	}
	var list []string
	for _, b := range u.Msg.Bindings {
		list = append(list, fmt.Sprintf("%s %s until in %.0f s", b.Transport, b.Remote, b.Expires.AsTime().Sub(now).Seconds()))
	}
	if list == nil {
		return "nobody signed in"
	}
	return strings.Join(list, ", ")
}

// A Diary is what a device did of late. Its zero value is empty, and it is safe for concurrent use.
type Diary struct {
	mu   sync.Mutex // guards days
	days []day
}

type day struct {
	at   time.Time
	what string
}

// pages is how much a diary keeps.
const pages = 8

// Note adds what the device does now.
func (d *Diary) Note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.days) == pages {
		d.days = append(d.days[:0], d.days[1:]...)
	}
	d.days = append(d.days, day{time.Now(), fmt.Sprintf(format, args...)})
}

func (d *Diary) said(now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []string
	for _, x := range d.days {
		list = append(list, fmt.Sprintf("%s %s ago", x.what, since(now, x.at)))
	}
	if list == nil {
		return "never signed in"
	}
	return strings.Join(list, ", ")
}
