package sip

import (
	"iter"
	"strings"
)

// Params are parameters as they stand in the message: "" or ";name=value;flag". The text may hold white
// space around ";" and "=" and quoted values.
type Params string

// next splits off the first parameter: name and value as they stand, trimmed. ok is false at the end.
// The value keeps its quotes; hasValue tells "a=" from "a".
func (p Params) next() (name, value string, hasValue bool, rest Params, ok bool) {
	s := string(p)
	for len(s) > 0 && (s[0] == ';' || isSpace(s[0])) {
		s = s[1:]
	}
	if s == "" {
		return "", "", false, "", false
	}
	eq := -1
	i := 0
loop:
	for ; i < len(s); i++ {
		switch s[i] {
		case ';':
			break loop
		case '=':
			if eq < 0 {
				eq = i
			}
		case '"':
			n := skipQuoted(s[i:])
			if n < 0 {
				i = len(s)
				break loop
			}
			i += n - 1
		}
	}
	if eq < 0 {
		return trimRight(s[:i]), "", false, Params(s[i:]), true
	}
	return trimRight(s[:eq]), trim(s[eq+1 : i]), true, Params(s[i:]), true
}

// raw finds a parameter and returns its value as it stands.
func (p Params) raw(name string) (value string, ok bool) {
	for {
		n, v, _, rest, more := p.next()
		if !more {
			return "", false
		}
		if equalFold(n, name) {
			return v, true
		}
		p = rest
	}
}

// Get finds a parameter by name, whatever its case. The value has its quotes and backslashes taken
// off; a flag has the value "". Escapes of the form %HH, which only URIs have, stay.
func (p Params) Get(name string) (value string, ok bool) {
	v, ok := p.raw(name)
	return unquote(v), ok
}

// Has tells whether the parameter is there, with or without a value.
func (p Params) Has(name string) bool {
	_, ok := p.raw(name)
	return ok
}

// All gives names and values in order, values unquoted as Get does.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for {
			n, v, _, rest, ok := p.next()
			if !ok || !yield(n, unquote(v)) {
				return
			}
			p = rest
		}
	}
}

// With sets a parameter: it takes the place of an earlier one or is added at the end. A value that is
// neither token nor host is quoted, "" makes a flag. For a parameter of a URI, where quotes cannot stand, pass the value
// through EscapeParam.
func (p Params) With(name, value string) Params {
	text := ";" + name
	if value != "" {
		text += "=" + paramValue(value)
	}
	var b strings.Builder
	done := false
	for {
		n, v, hasValue, rest, ok := p.next()
		if !ok {
			break
		}
		p = rest
		switch {
		case !equalFold(n, name):
			b.WriteString(";" + n)
			if hasValue {
				b.WriteString("=" + v)
			}
		case !done:
			b.WriteString(text)
			done = true
		}
	}
	if !done {
		b.WriteString(text)
	}
	return Params(b.String())
}

// Without takes all parameters of that name out.
func (p Params) Without(name string) Params {
	if !p.Has(name) {
		return p
	}
	var b strings.Builder
	for {
		n, v, hasValue, rest, ok := p.next()
		if !ok {
			return Params(b.String())
		}
		p = rest
		if equalFold(n, name) {
			continue
		}
		b.WriteString(";" + n)
		if hasValue {
			b.WriteString("=" + v)
		}
	}
}

// paramValue quotes a value unless it is a token or a host (RFC 3261 §25.1 gen-value).
func paramValue(v string) string {
	for i := 0; i < len(v); i++ {
		if c := v[i]; class[c]&cToken == 0 && c != '[' && c != ']' && c != ':' {
			return quote(v)
		}
	}
	return v
}

// valid checks generic-params (RFC 3261 §25.1): *( SEMI token [ EQUAL ( token / host / quoted-string ) ] ). Whether a
// name stands twice is looked at for those names that matter.
func (p Params) valid() bool {
	s := string(p)
	for {
		s = trimLeft(s)
		if s == "" {
			return true
		}
		if s[0] != ';' {
			return false
		}
		s = trimLeft(s[1:])
		n := spanClass(s, cToken)
		if n == 0 {
			return false
		}
		s = trimLeft(s[n:])
		if s == "" || s[0] != '=' {
			continue
		}
		s = trimLeft(s[1:])
		if s != "" && s[0] == '"' {
			if n = skipQuoted(s); n < 0 || !validQuoted(s[:n]) {
				return false
			}
		} else if n = spanClass(s, cToken|cParam); n == 0 {
			// host adds "[", "]" and ":" to what a token may hold; "/" and "&" and the like stand bare in
			// deployed extensions, such as a media type, and harm nobody.
			return false
		}
		s = s[n:]
	}
}

// duplicate tells whether the parameter stands more than once.
func (p Params) duplicate(name string) bool {
	seen := false
	for {
		n, _, _, rest, ok := p.next()
		if !ok {
			return false
		}
		if equalFold(n, name) {
			if seen {
				return true
			}
			seen = true
		}
		p = rest
	}
}
