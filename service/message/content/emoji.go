package content

import "unicode/utf8"

// maxEmoji is the longest emoji, in bytes.
const maxEmoji = 32

// IsEmoji tells whether s is one emoji of at most 32 bytes, as Unicode Technical Standard #51 §1.4.9 (ED-17a) spells them: pictures with their
// variations and colours of skin, joined ones, flags and keycaps.
func IsEmoji(s string) bool {
	if s == "" || len(s) > maxEmoji || !utf8.ValidString(s) {
		return false
	}
	r := []rune(s)
	if n := flag(r); n > 0 {
		return n == len(r)
	}
	if n := keycap(r); n > 0 {
		return n == len(r)
	}
	for {
		n := picture(r)
		if n == 0 {
			return false
		}
		if r = r[n:]; len(r) == 0 {
			return true
		}
		if r[0] != 0x200d { // joined to the next
			return false
		}
		r = r[1:]
	}
}

// picture is the length of the picture at the beginning of r, with what varies it; 0 for none.
func picture(r []rune) int {
	if len(r) == 0 || !isPicture(r[0]) {
		return 0
	}
	n := 1
	if n < len(r) && r[n] == 0xfe0f {
		n++
	}
	if n < len(r) && r[n] >= 0x1f3fb && r[n] <= 0x1f3ff {
		n++
	}
	tags := n
	for tags < len(r) && r[tags] >= 0xe0020 && r[tags] <= 0xe007e {
		tags++
	}
	if tags > n && tags < len(r) && r[tags] == 0xe007f { // flags of regions
		n = tags + 1
	}
	return n
}

// flag is the length of a flag made of two letters, 0 for none.
func flag(r []rune) int {
	regional := func(c rune) bool { return c >= 0x1f1e6 && c <= 0x1f1ff }
	if len(r) >= 2 && regional(r[0]) && regional(r[1]) {
		return 2
	}
	return 0
}

// keycap is the length of a key, 0 for none.
func keycap(r []rune) int {
	if len(r) < 3 || !(r[0] >= '0' && r[0] <= '9' || r[0] == '#' || r[0] == '*') || r[1] != 0xfe0f || r[2] != 0x20e3 {
		return 0
	}
	return 3
}

// isPicture tells characters that are emoji by themselves (Extended_Pictographic of Unicode, in whole ranges). Skin colours alone count.
func isPicture(r rune) bool {
	switch {
	case r >= 0x1f1e6 && r <= 0x1f1ff:
		return false
	case r >= 0x1f000 && r <= 0x1faff:
		return true
	case r >= 0x2600 && r <= 0x27bf, r >= 0x2194 && r <= 0x21aa, r >= 0x231a && r <= 0x23ff, r >= 0x25aa && r <= 0x25fe, r >= 0x2b05 && r <= 0x2b55:
		return true
	}
	switch r {
	case 0xa9, 0xae, 0x203c, 0x2049, 0x2122, 0x2139, 0x24c2, 0x2934, 0x2935, 0x3030, 0x303d, 0x3297, 0x3299:
		return true
	}
	return false
}
