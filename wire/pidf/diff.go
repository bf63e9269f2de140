package pidf

import (
	"bytes"
	"strconv"

	"github.com/parley-im/parley/wire/xmlpull"
)

// AppendDiff appends a partial document (RFC 5262 §3) that turns from into to, Content-Type application/pidf-diff+xml.
// Both must be as Normalize leaves them, and the watcher must hold from as this package writes it. Tuples, persons and
// devices are added, replaced and removed as wholes, found by their id. The result of two equal documents is one
// without changes. When much changes, AppendFull may be shorter: the caller compares (RFC 5262 §4).
func AppendDiff(b []byte, from, to *Presence, version uint32) []byte {
	b = append(b, xmlpull.Header...)
	d := differ{writer{b: b}}
	start := len(b)
	if from.Entity != to.Entity {
		d.raw(`<d:replace sel="*/@entity">`)
		d.b = xmlpull.AppendText(d.b, to.Entity)
		d.raw("</d:replace>")
	}
	diffItems(&d, "tuple", from.Tuples, to.Tuples, func(t *Tuple) string { return t.ID }, (*Tuple).write)
	d.notesDiff(from.Notes, to)
	diffItems(&d, "dm:person", from.Persons, to.Persons, func(p *Person) string { return p.ID }, (*Person).write)
	diffItems(&d, "dm:device", from.Devices, to.Devices, func(d *Device) string { return d.ID }, (*Device).write)
	d.raw("</d:pidf-diff>")
	return d.insertRoot(start, "<d:pidf-diff xmlns=\""+Namespace+"\" xmlns:d=\""+DiffNamespace+"\"", to.Entity, version)
}

// differ writes patch operations. The operations stand in an order that keeps the patched document in the order of the
// schema: tuples, notes, then the rest.
type differ struct {
	writer
}

// same says whether two things are written alike. The end of the output is the room for it.
func (d *differ) same(from, to func(*writer)) bool {
	start, used := len(d.b), d.used
	from(&d.writer)
	middle := len(d.b)
	to(&d.writer)
	equal := bytes.Equal(d.b[start:middle], d.b[middle:])
	d.b, d.used = d.b[:start], used
	return equal
}

// step is what happens to an item of the new list.
type step uint8

const (
	added step = iota
	kept
	replaced
)

// diffItems writes the changes of one kind of items.
func diffItems[T any](d *differ, name string, from, to []T, id func(*T) string, write func(*T, *writer)) {
	if len(from) == 0 && len(to) == 0 {
		return
	}
	if name != "tuple" {
		d.used |= useDM
	}
	// An item stays where it is if it comes behind the one that stayed before it; an item that moved forward is taken out
	// and put in again.
	var stepRoom [16]step
	var stayRoom [16]bool
	steps, stays := append(stepRoom[:0], make([]step, len(to))...), append(stayRoom[:0], make([]bool, len(from))...)
	find := finder(from, id)
	last, first := -1, -1
	for i := range to {
		at := find(id(&to[i]))
		if at <= last {
			continue
		}
		last, stays[at], steps[i] = at, true, replaced
		if first < 0 {
			first = i
		}
		if d.same(func(w *writer) { write(&from[at], w) }, func(w *writer) { write(&to[i], w) }) {
			steps[i] = kept
		}
	}
	for i := range from {
		if !stays[i] {
			d.raw("<d:remove")
			d.selector(name, id(&from[i]))
			d.raw("/>")
		}
	}
	for i := range to {
		op := "</d:add>"
		switch steps[i] {
		case kept:
			continue
		case replaced:
			op = "</d:replace>"
			d.raw("<d:replace")
			d.selector(name, id(&to[i]))
		case added:
			d.raw("<d:add")
			switch {
			case i > 0:
				d.selector(name, id(&to[i-1]))
				d.raw(` pos="after"`)
			case first >= 0:
				d.selector(name, id(&to[first]))
				d.raw(` pos="before"`)
			case name == "tuple":
				d.raw(` sel="*" pos="prepend"`)
			default:
				d.raw(` sel="*"`)
			}
		}
		d.raw(">")
		write(&to[i], &d.writer)
		d.raw(op)
	}
}

// finder tells where an identifier stands in a list, -1 for nowhere. Most lists are too short for a map to be worth it.
func finder[T any](list []T, id func(*T) string) func(string) int {
	if len(list) <= 16 {
		return func(s string) int {
			for i := range list {
				if id(&list[i]) == s {
					return i
				}
			}
			return -1
		}
	}
	place := make(map[string]int, len(list))
	for i := range list {
		place[id(&list[i])] = i
	}
	return func(s string) int {
		if i, ok := place[s]; ok {
			return i
		}
		return -1
	}
}

func (d *differ) selector(name, id string) {
	d.raw(` sel="*/`)
	d.raw(name)
	d.raw("[@id='")
	d.b = appendID(d.b, id)
	d.raw(`']"`)
}

// notesDiff replaces all notes of the document when one changed: they have no names to tell them apart. It comes behind
// the changes of tuples, so the tuples are those of to.
func (d *differ) notesDiff(from []Note, to *Presence) {
	if d.same(func(w *writer) { w.notes("note", from) }, func(w *writer) { w.notes("note", to.Notes) }) {
		return
	}
	for range from {
		d.raw(`<d:remove sel="*/note[1]"/>`)
	}
	for i := range to.Notes {
		switch n := len(to.Tuples); {
		case i > 0:
			d.raw(`<d:add sel="*/note[`)
			d.b = strconv.AppendInt(d.b, int64(i), 10)
			d.raw(`]" pos="after">`)
		case n > 0:
			d.raw("<d:add")
			d.selector("tuple", to.Tuples[n-1].ID)
			d.raw(` pos="after">`)
		default:
			d.raw(`<d:add sel="*" pos="prepend">`)
		}
		d.notes("note", to.Notes[i:i+1])
		d.raw("</d:add>")
	}
}
