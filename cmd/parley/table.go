package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

// table is a CSV file of users.
type table struct {
	path  string
	users []*v1.NewUser
	lines []int // where each user stands
	order []int // the column of each of columns; -1: it is not there
}

// columns are what a row may hold, in their order.
var columns = [...]string{"address", "name", "password", "admin", "title", "department", "office", "phone", "mobile", "email"}

// readTable reads rows of columns, with commas or, as some spreadsheets write, semicolons. A first row that begins with
// "address" is a heading; when it has no other words than columns, it says in which order they are. Errors name file and line.
func readTable(path string) (*table, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError("cannot read", err)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // spreadsheets mark UTF-8 so
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = true
	if head, _, _ := bytes.Cut(text, []byte("\n")); bytes.Contains(head, []byte(";")) && !bytes.Contains(head, []byte(",")) {
		r.Comma = ';'
	}
	t := &table{path: path}
	for i := range columns {
		t.order = append(t.order, i)
	}
	seen := map[string]int{}
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, t.wrong(bad.StartLine, "the quotes do not fit: put \" around a whole field, and \"\" for a \" in it")
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if first && strings.EqualFold(row[0], "address") {
			t.heading(row)
			continue
		}
		if err := t.add(row, line); err != nil {
			return nil, err
		}
		if before := seen[t.users[len(t.users)-1].Address]; before != 0 {
			return nil, t.wrong(line, row[0]+" stands in line "+strconv.Itoa(before)+" already")
		}
		seen[row[0]] = line
	}
	if len(t.users) == 0 {
		return nil, errs.New(errs.Invalid, "%s holds no users: write one row address,name,password for each", path)
	}
	return t, nil
}

// heading takes the order of the columns from the first row, if it knows all of its words.
func (t *table) heading(row []string) {
	order, usual := slices.Repeat([]int{-1}, len(columns)), true
	for at, word := range row {
		i := slices.Index(columns[:], strings.ToLower(word))
		if i < 0 || order[i] >= 0 {
			return
		}
		order[i] = at
		usual = usual && i == at
	}
	if !usual { // else rows may go on beyond their heading
		t.order = order
	}
}

func (t *table) add(row []string, line int) error {
	if most := slices.Max(t.order) + 1; len(row) > most {
		return t.wrong(line, strconv.Itoa(len(row))+" columns; there are at most "+strconv.Itoa(most)+": "+t.names())
	}
	field := func(column int) string {
		if at := t.order[column]; at >= 0 && at < len(row) {
			return row[at]
		}
		return ""
	}
	if row[0] == "" {
		return t.wrong(line, "there is no address; write address,name,password")
	}
	u := &v1.NewUser{Address: row[0], Name: field(1), Password: field(2), Profile: &v1.Profile{
		Title: field(4), Department: field(5), Office: field(6), Phone: field(7), Mobile: field(8), Email: field(9),
	}}
	if text := field(3); text != "" {
		admin, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return t.wrong(line, "admin is "+strconv.Quote(text)+"; write true or false")
		}
		u.Admin = admin
	}
	t.users, t.lines = append(t.users, u), append(t.lines, line)
	return nil
}

// names are the columns in their order.
func (t *table) names() string {
	names := make([]string, slices.Max(t.order)+1)
	for i, at := range t.order {
		if at >= 0 {
			names[at] = columns[i]
		}
	}
	return strings.Join(names, ",")
}

func (t *table) wrong(line int, what string) error {
	return errs.New(errs.Invalid, "%s, line %d: %s", t.path, line, what)
}

// locate adds file and line to what the server says of a user in the table.
func (t *table) locate(err error) error {
	text := parley.Reason(err)
	best := -1
	for i, u := range t.users {
		address := strings.ToLower(strings.TrimPrefix(strings.ToLower(u.Address), "sip:"))
		if strings.Contains(strings.ToLower(text), address) && (best < 0 || len(u.Address) > len(t.users[best].Address)) {
			best = i
		}
	}
	if best < 0 || connect.CodeOf(err) == connect.CodeUnavailable {
		return err
	}
	return t.wrong(t.lines[best], text)
}
