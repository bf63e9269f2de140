package content

import "unicode"

// Visible tells whether there is anything in a text for people to see: not white space, marks of direction, characters without width and
// their like alone.
func Visible(s string) bool {
	for _, r := range s {
		if r > ' ' && r < 0x7f || !blank(r) {
			return true
		}
	}
	return false
}

// VisibleHTML is Visible of what Sanitise returns: a frame with nothing in it is nothing.
func VisibleHTML(sanitised string) bool {
	tag := false
	for _, r := range sanitised {
		switch {
		case r == '<': // in a text it is escaped
			tag = true
		case r == '>':
			tag = false
		case !tag && !blank(r):
			return true
		}
	}
	return false
}

// blank tells characters of which nothing is seen when they stand alone: white space, controls, and what Unicode calls ignorable by
// default (Default_Ignorable_Code_Point), with the empty pattern of Braille.
func blank(r rune) bool {
	switch {
	case unicode.IsSpace(r), unicode.IsControl(r), r == 0x2800:
		return true
	case unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	}
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
