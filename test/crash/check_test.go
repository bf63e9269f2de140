package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// whole is a run in which all is well: one message from a to b, who has a device that takes it and a picky one that refuses
// it, and a second message that was refused.
func whole() book {
	t := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	later := func(s int) time.Time { return t.Add(time.Duration(s) * time.Second) }
	return book{
		Devices: []device{
			{AOR: "b@x", Device: "d0", Name: "b/0", Since: t},
			{AOR: "b@x", Device: "d1", Name: "b/1", Picky: true, Since: t},
		},
		Sent: []sent{
			{Key: "k1", From: "a@x", To: "b@x", CallID: "m-k1", Unwanted: true, Link: 1, Place: 1, At: later(1)},
			{Key: "k2", From: "a@x", To: "b@x", CallID: "m-k2", Link: 1, Place: 2, At: later(2)},
			{Key: "k3", From: "a@x", To: "b@x", CallID: "m-k3", Link: 1, Place: 3, At: later(3)},
		},
		Answers: []answer{
			{Key: "k1", Status: 200, Attempts: 1, At: later(1)},
			{Key: "k2", Status: 500, Attempts: 1, RetryAfter: "5", Took: 800 * time.Millisecond, At: later(3)},
			{Key: "k3", Status: 202, Attempts: 1, At: later(3)},
		},
		Received: []received{
			{Key: "k1", AOR: "b@x", Device: "d0", CallID: "r1", Life: 1, Status: 200, At: later(1)},
			{Key: "k1", AOR: "b@x", Device: "d1", CallID: "r1", Life: 1, Status: 488, At: later(1)},
			{Key: "k3", AOR: "b@x", Device: "d0", CallID: "r3", Life: 1, Status: 200, At: later(3)},
			{Key: "k1", AOR: "b@x", Device: "d0", CallID: "r1", Life: 2, Status: 200, At: later(4)}, // again after a restart
			{Key: "k3", AOR: "b@x", Device: "d0", CallID: "r3", Life: 2, Status: 200, At: later(4)},
			{Key: "k3", AOR: "b@x", Device: "d1", CallID: "r3", Life: 2, Status: 200, At: later(4)},
		},
		Archive: []record{
			{Seq: 1, ID: idOf("r1"), Kind: "message", From: "a@x", To: "b@x", Key: "k1", CallID: "m-k1"},
			{Seq: 2, ID: idOf("o1"), Kind: "delivery", From: "a@x", To: "b@x", Device: "d0", Ref: idOf("r1"), Outcome: "delivered"},
			{Seq: 3, ID: idOf("o2"), Kind: "delivery", From: "a@x", To: "b@x", Device: "d1", Ref: idOf("r1"), Outcome: "refused"},
			{Seq: 5, ID: idOf("r3"), Kind: "message", From: "a@x", To: "b@x", Key: "k3", CallID: "m-k3"},
			{Seq: 6, ID: idOf("o3"), Kind: "delivery", From: "a@x", To: "b@x", Device: "d0", Ref: idOf("r3"), Outcome: "delivered"},
			{Seq: 7, ID: idOf("o4"), Kind: "delivery", From: "a@x", To: "b@x", Device: "d1", Ref: idOf("r3"), Outcome: "delivered"},
		},
	}
}

// idOf makes an id of two letters.
func idOf(s string) string { return fmt.Sprintf("017f22e2-79b0-7cc3-98c4-dc0c0c07%x", s) }

func drop[T any](list *[]T, i int) { *list = slices.Delete(*list, i, i+1) }

// Each rule is found by the checker when it is broken, and nothing is found when none is.
func TestCheckFinds(t *testing.T) {
	if v := check(whole()); len(v.Violations) > 0 || v.Acknowledged != 2 || v.Refused != 1 || v.Redelivered != 2 {
		t.Fatalf("a run without fault: %+v", v)
	}
	for _, c := range []struct {
		name  string
		rule  string
		spoil func(*book)
	}{
		{"an acknowledged message is not in the archive", ruleAcknowledged, func(b *book) { drop(&b.Archive, 3) }},
		{"one that a device has is not in the archive", ruleReceived, func(b *book) { drop(&b.Archive, 0); drop(&b.Answers, 0) }},
		{"the archive has another receiver", ruleContent, func(b *book) { b.Archive[0].To = "c@x" }},
		{"the archive has what nobody sent", ruleContent, func(b *book) { b.Archive[0].Key = "k9" }},
		{"a device never gets a message", ruleOwed, func(b *book) { drop(&b.Received, 5) }},
		{"a delivery is not on record", ruleOutcome, func(b *book) { drop(&b.Archive, 5) }},
		{"a refusal is on record as a delivery", ruleOutcome, func(b *book) { b.Archive[2].Outcome = "delivered" }},
		{"200 although no device took it", ruleTaken, func(b *book) { b.Received = b.Received[1:2] }},
		{"a redelivery has a new Call-ID", ruleCallID, func(b *book) { b.Received[3].CallID = "r9" }},
		{"a repeat is recorded again", ruleRepeat, func(b *book) { b.Archive = append(b.Archive, b.Archive[0]) }},
		{"a device sees another order", ruleOrder, func(b *book) { b.Received[0], b.Received[2] = b.Received[2], b.Received[0] }},
		{"the log has another order than the sender", ruleSequence, func(b *book) { b.Sent[0].Place = 9 }},
		{"a refused message is in the archive", ruleRefused, func(b *book) {
			b.Archive = append(b.Archive, record{Seq: 8, ID: idOf("r2"), Kind: "message", From: "a@x", To: "b@x", Key: "k2", CallID: "m-k2"})
		}},
		{"a refused message is delivered", ruleRefused, func(b *book) {
			b.Received = append(b.Received, received{Key: "k2", AOR: "b@x", Device: "d0", CallID: "r2", Life: 2, Status: 200})
		}},
		{"an id is from a second and more before", ruleID, func(b *book) { b.Archive[5].ID = "017f22e2-0000-7cc3-98c4-dc0c0c073981" }},
		{"a refusal has no Retry-After", ruleRefused, func(b *book) { b.Answers[1].RetryAfter = "" }},
		{"a refusal comes late", ruleSlow, func(b *book) { b.Answers[1].Took = 3 * time.Second }},
	} {
		b := whole()
		c.spoil(&b)
		v := check(b)
		if !slices.ContainsFunc(v.Violations, func(x violation) bool { return x.Rule == c.rule }) {
			t.Errorf("%s: want %q, got %+v", c.name, c.rule, v.Violations)
		}
	}
}

// The files hold the whole book.
func TestLedger(t *testing.T) {
	dir := t.TempDir()
	l, err := newLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := whole()
	for _, d := range b.Devices {
		l.device(d)
	}
	for _, s := range b.Sent {
		l.sent(s)
	}
	for _, a := range b.Answers {
		l.answered(a)
	}
	for _, r := range b.Received {
		l.received(r)
	}
	if err := l.finish(b.Archive); err != nil {
		t.Fatal(err)
	}
	got, err := readBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	if v := check(got); len(v.Violations) > 0 || v.Sent != len(b.Sent) || v.Received != len(b.Received) || v.Recorded != 2 {
		t.Errorf("read again: %+v", v)
	}
}
