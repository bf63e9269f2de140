package errs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"
)

func TestTable(t *testing.T) {
	want := []struct {
		k         Kind
		name      string
		sip, http int
		temporary bool
	}{
		{0, "ok", 200, 200, false},
		{Invalid, "invalid", 400, 400, false},
		{Unauthorized, "unauthorized", 401, 401, false},
		{Forbidden, "forbidden", 403, 403, false},
		{NotFound, "not found", 404, 404, false},
		{Conflict, "conflict", 400, 409, false},
		{TooMany, "too many", 503, 429, true},
		{Unavailable, "unavailable", 500, 503, true},
		{Internal, "internal", 500, 500, false},
		{Internal + 1, "internal", 500, 500, false}, // out of the table
	}
	for _, w := range want {
		if w.k.String() != w.name || w.k.SIP() != w.sip || w.k.HTTP() != w.http || w.k.Temporary() != w.temporary {
			t.Errorf("kind %d: %s %d %d %v, want %v", w.k, w.k, w.k.SIP(), w.k.HTTP(), w.k.Temporary(), w)
		}
	}
	for k, row := range table {
		if row.name == "" || row.reason == "" {
			t.Errorf("kind %d has no row", k)
		}
	}
}

func TestKindOf(t *testing.T) {
	inner := New(NotFound, "store: no user %s", "alice")
	cases := []struct {
		name string
		err  error
		want Kind
	}{
		{"nil", nil, 0},
		{"plain", io.EOF, Internal},
		{"bare kind", Forbidden, Forbidden},
		{"made", inner, NotFound},
		{"words added", fmt.Errorf("route: %w", inner), NotFound},
		{"new kind outside", Wrap(Invalid, inner, "api: renaming"), Invalid},
		{"said", Say(inner, "Nobody here has that name"), NotFound},
		{"said plain", Say(io.EOF, "x"), Internal},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), Unavailable},
		{"cancelled", context.Canceled, Unavailable},
		{"no file", fs.ErrNotExist, NotFound},
		{"file", fs.ErrExist, Conflict},
		{"permission", fs.ErrPermission, Forbidden},
	}
	for _, c := range cases {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestIsAndWrap(t *testing.T) {
	err := Wrap(Unavailable, io.ErrUnexpectedEOF, "store: reading the log")
	if err.Error() != "store: reading the log: unexpected EOF" {
		t.Errorf("text %q", err)
	}
	if !errors.Is(err, Unavailable) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, Internal) {
		t.Error("errors.Is does not see through")
	}
	if Wrap(Invalid, nil, "x") != nil || Say(nil, "x") != nil {
		t.Error("nil must stay nil")
	}
}

func TestReason(t *testing.T) {
	err := New(Forbidden, "policy: level 3 < 5 for bob")
	if got := Reason(err); got != "This is not allowed" {
		t.Errorf("standard reason %q", got)
	}
	said := fmt.Errorf("message: %w", Say(err, "You may not write to this person"))
	if got := Reason(said); got != "You may not write to this person" {
		t.Errorf("reason %q", got)
	}
	if got := Reason(Wrap(Internal, said, "again")); got != "You may not write to this person" {
		t.Errorf("inner reason %q", got)
	}
	if said.Error() != "message: policy: level 3 < 5 for bob" {
		t.Errorf("Say changed the log text: %q", said)
	}
}
