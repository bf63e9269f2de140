package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// unquoted is what the parser says about a word without quotes.
var unquoted = regexp.MustCompile(`^expected value but found "([^"]*[[:alpha:]][^"]*)" instead$`)

// decode reads TOML into c and refuses keys that c does not have.
func decode(text []byte, c *Config) error {
	meta, err := toml.Decode(string(text), c)
	if err != nil {
		if p, ok := errors.AsType[toml.ParseError](err); ok {
			return fmt.Errorf("line %d: %s", p.Position.Line, unquoted.ReplaceAllString(p.Message, "$0: texts need quotes, such as \"$1\""))
		}
		return errors.New(wrongType(err.Error()))
	}
	var all []error
	for _, key := range meta.Undecoded() {
		if covered(key, meta.Undecoded()) {
			continue
		}
		msg := fmt.Sprintf("line %d: there is no key %q", line(text, key), key.String())
		if near := nearest(key.String()); near != "" {
			msg += fmt.Sprintf(", did you mean %q?", near)
		} else {
			msg += "; `parley config describe` lists all of them"
		}
		all = append(all, errors.New(msg))
	}
	return errors.Join(all...)
}

var lastKey = regexp.MustCompile(`^toml: line (\d+) \(last key "(.+?)"\): `)

// wrongType turns the parser's words about Go types into words about the key.
func wrongType(msg string) string {
	m := lastKey.FindStringSubmatch(msg)
	if m == nil {
		return strings.TrimPrefix(msg, "toml: ")
	}
	for _, f := range fields(Default()) {
		if f.key == m[2] {
			return fmt.Sprintf("line %s: %s must be a %s", m[1], f.key, typeName(f.value.Type())+example(f.value.Type()))
		}
	}
	return fmt.Sprintf("line %s: %s: %s", m[1], m[2], msg[len(m[0]):])
}

// covered says that a table above key is unknown too, so that one mistake is reported once.
func covered(key toml.Key, unknown []toml.Key) bool {
	for _, u := range unknown {
		if len(u) < len(key) && strings.HasPrefix(key.String(), u.String()+".") {
			return true
		}
	}
	return false
}

// trap fails when something is decoded into it. The parser then tells the line, which it keeps to itself for keys that
// are merely unknown.
type trap struct{}

func (*trap) UnmarshalTOML(any) error { return errors.New("trapped") }

// line finds where key stands: it decodes the text again into a type that has only that key, with a trap in its place.
func line(text []byte, key toml.Key) int {
	t := reflect.TypeFor[trap]()
	for i := len(key) - 1; i >= 0; i-- {
		tag := reflect.StructTag(fmt.Sprintf("toml:%q", key[i]))
		t = reflect.StructOf([]reflect.StructField{{Name: "X", Type: t, Tag: tag}})
	}
	_, err := toml.Decode(string(text), reflect.New(t).Interface())
	if p, ok := errors.AsType[toml.ParseError](err); ok {
		return p.Position.Line
	}
	return 0
}

// field is one key of the configuration.
type field struct {
	key    string // "sip.udp"
	doc    string // struct and field in sections.go: "SIP.UDP"
	value  reflect.Value
	secret bool
}

// fields lists every key of c in the order of sections.go.
func fields(c *Config) []field {
	var list []field
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key := prefix + f.Tag.Get("toml")
			if f.Type.Kind() == reflect.Struct {
				walk(key+".", v.Field(i))
				continue
			}
			list = append(list, field{key, v.Type().Name() + "." + f.Name, v.Field(i), f.Tag.Get("secret") == "true"})
			if f.Type.Kind() == reflect.Map {
				walk(key+`."…".`, reflect.New(f.Type.Elem()).Elem())
			}
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return list
}

// nearest is the key most like the wrong one: the same last part in another section, or few letters away; else "".
func nearest(key string) string {
	best, bestCost := "", len(key)/3+2
	for _, f := range fields(Default()) {
		cost := distance(key, f.key)
		if short := f.key[strings.LastIndexByte(f.key, '.')+1:]; short == key[strings.LastIndexByte(key, '.')+1:] {
			cost = min(cost, 1)
		}
		if cost < bestCost {
			best, bestCost = f.key, cost
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace to get from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// typeName is what people call a field's type.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + typeName(t.Elem()) + "s"
	case t.Kind() == reflect.Map:
		return "table"
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Bool:
		return "truth value"
	}
	return t.Kind().String()
}

// example shows how to write a value of the type.
func example(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return ` such as "90s" or "24h"`
	case t.Kind() == reflect.Slice:
		return ` such as ["a", "b"]`
	case t.Kind() == reflect.Bool || t.Kind() == reflect.Pointer:
		return ", true or false"
	}
	return ""
}
