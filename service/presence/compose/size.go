package compose

import "github.com/parley-im/parley/wire/pidf"

// What is published goes into a document while there is room for it. The sizes are about those of the elements; a text may
// become six times as long where it is escaped, which maxPublished allows for.

// take takes n bytes of the room, if there are as many.
func take(room *int, n int) bool {
	if n > *room {
		return false
	}
	*room -= n
	return true
}

func noteSize(n pidf.Note) int { return 10 + len(n.Lang) + len(n.Text) }

func notesSize(notes []pidf.Note) int {
	size := 0
	for i := range notes {
		size += noteSize(notes[i])
	}
	return size
}

func textsSize(list []string) int {
	size := 0
	for i := range list {
		size += 8 + len(list[i])
	}
	return size
}

func setSize(s *pidf.Set) int {
	return 30 + textsSize(s.Values) + notesSize(s.Other) + notesSize(s.Notes)
}

func supportSize(s *pidf.Support) int { return 8 + textsSize(s.Yes) + textsSize(s.No) }

func capsSize(c *pidf.ServiceCaps) int {
	size := 60 + 10*(len(c.Priority.Yes)+len(c.Priority.No)) + textsSize(c.Types) + notesSize(c.Descriptions)
	for _, s := range [...]*pidf.Support{&c.Actor, &c.Class, &c.Duplex, &c.Events, &c.Extensions, &c.Methods, &c.Languages, &c.Schemes} {
		size += supportSize(s)
	}
	return size
}

func cardSize(c *pidf.Card) int {
	return 60 + len(c.Card) + len(c.Homepage) + len(c.Icon) + len(c.Map) + len(c.Sound) + notesSize(c.DisplayNames)
}
