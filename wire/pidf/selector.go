package pidf

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/parley-im/parley/wire/xmlpull"
)

// target is the one node that a selector finds: node itself, its place among the parent's children, and the place of the
// attribute that is meant, -1 for none.
type target struct {
	node, parent *node
	at, attr     int
}

// find follows a selector (RFC 5261 §4.1): exactly one node must be found.
func find(root *node, sel string, scope map[string]string) (target, error) {
	t := target{node: root, attr: -1}
	path := strings.TrimPrefix(sel, "/")
	if path == "" || strings.HasPrefix(path, "/") {
		return t, fmt.Errorf("selector %q", clip(sel))
	}
	for first := true; path != ""; first = false {
		var name string
		name, path = splitStep(path)
		if t.attr >= 0 || t.node.local == "" {
			return t, fmt.Errorf("selector %q goes on behind its end", clip(sel))
		}
		s, err := parseStep(name, scope)
		if err != nil {
			return t, fmt.Errorf("selector %q: %w", clip(sel), err)
		}
		var found int
		switch {
		case first:
			// The example of RFC 5262 §6 calls a root of another name "presence".
			found = 1
			if s.attr != "" || s.text || !s.matches(root) && s.local != "presence" {
				found = 0
			}
		case s.attr != "":
			for i, a := range t.node.attrs {
				if a.Local == s.attr && a.Space == s.space {
					t.attr, found = i, found+1
				}
			}
		default:
			found = t.step(&s)
		}
		if found != 1 {
			return t, fmt.Errorf("selector %q finds %d nodes", clip(sel), found)
		}
	}
	return t, nil
}

// step goes to the child that s means and says how many there were.
func (t *target) step(s *pathStep) int {
	found, parent := 0, t.node
	for i, k := range parent.kids {
		if s.text && k.local == "" || !s.text && k.local != "" && s.matches(k) {
			if found++; s.index == 0 || s.index == found {
				t.node, t.parent, t.at = k, parent, i
				if s.index > 0 {
					return 1
				}
			}
		}
	}
	if s.index > 0 {
		return 0
	}
	return found
}

// splitStep cuts the first step off a path. A slash may stand inside quotes.
func splitStep(path string) (step, rest string) {
	quote := byte(0)
	for i := range len(path) {
		switch c := path[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '/':
			return path[:i], path[i+1:]
		}
	}
	return path, ""
}

// pathStep is one step of a path.
type pathStep struct {
	space, local string // local is "*" for any element
	attr         string // an attribute is meant
	text         bool   // the text is meant
	index        int    // [n], counting what matches the rest; 0 for none
	name, value  string // [@name='value']
}

func (s *pathStep) matches(n *node) bool {
	return (s.local == "*" || s.local == n.local && s.space == n.space) && (s.name == "" || n.attr(s.name) == s.value)
}

func parseStep(text string, scope map[string]string) (s pathStep, err error) {
	name, conditions, _ := strings.Cut(text, "[")
	if conditions != "" {
		conditions = "[" + conditions
	}
	name, isAttr := strings.CutPrefix(name, "@")
	switch name {
	case "*":
		s.local = "*"
	case "text()":
		s.text = true
	default:
		prefix, local, ok := strings.Cut(name, ":")
		if !ok {
			prefix, local = "", name
		}
		space, declared := scope[prefix]
		if isAttr && prefix == "" {
			space, declared = "", true // the default namespace is not for attributes
		}
		if prefix == "xml" {
			space, declared = xmlpull.XMLNamespace, true
		}
		if !xmlpull.IsName(local) || !declared {
			return s, fmt.Errorf("step %q", clip(text))
		}
		s.space, s.local = space, local
	}
	if isAttr {
		s.attr = s.local
	}
	for conditions != "" {
		end := strings.IndexByte(conditions, ']')
		if end < 0 || conditions[0] != '[' || isAttr {
			return s, fmt.Errorf("step %q", clip(text))
		}
		if err := s.condition(conditions[1:end]); err != nil {
			return s, err
		}
		conditions = conditions[end+1:]
	}
	return s, nil
}

// condition reads one [n] or [@name='value'].
func (s *pathStep) condition(c string) error {
	if n, err := strconv.ParseUint(c, 10, 31); err == nil && n > 0 && s.index == 0 {
		s.index = int(n)
		return nil
	}
	name, value, ok := strings.Cut(strings.TrimPrefix(c, "@"), "=")
	if !ok || c[0] != '@' || !xmlpull.IsName(name) || s.name != "" || len(value) < 2 ||
		value[0] != '\'' && value[0] != '"' || value[len(value)-1] != value[0] {
		return fmt.Errorf("condition %q", clip(c))
	}
	s.name, s.value = name, value[1:len(value)-1]
	return nil
}

// append writes the node. Elements of known namespaces get the prefixes of the root; others declare theirs where they
// stand. inherited is the default namespace there.
func (n *node) append(b []byte, inherited string, root bool) []byte {
	if n.local == "" {
		return xmlpull.AppendText(b, n.text)
	}
	name := n.local
	prefix := prefixOf(n.space)
	if prefix != "" {
		name = prefix + ":" + n.local
	}
	b = append(b, '<')
	b = append(b, name...)
	switch {
	case root:
		// A root with a prefix still sets the default, for the elements inside.
		inherited = Namespace
		if prefix == "" {
			inherited = n.space
		}
		b = xmlpull.AppendAttr(b, "xmlns", inherited)
		b = append(b, ` xmlns:d="`+DiffNamespace+`"`...)
		for _, p := range prefixes {
			b = append(b, p.decl...)
		}
	case prefix == "" && n.space != inherited:
		inherited = n.space
		b = xmlpull.AppendAttr(b, "xmlns", n.space)
	}
	for i, a := range n.attrs {
		switch p := prefixOf(a.Space); {
		case a.Space == "":
			b = xmlpull.AppendAttr(b, a.Local, a.Value)
		case a.Space == xmlpull.XMLNamespace:
			b = xmlpull.AppendAttr(b, "xml:"+a.Local, a.Value)
		case p != "":
			b = xmlpull.AppendAttr(b, p+":"+a.Local, a.Value)
		default:
			p = "a" + strconv.Itoa(i)
			b = xmlpull.AppendAttr(b, "xmlns:"+p, a.Space)
			b = xmlpull.AppendAttr(b, p+":"+a.Local, a.Value)
		}
	}
	if len(n.kids) == 0 {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	for _, k := range n.kids {
		b = k.append(b, inherited, false)
	}
	return xmlpull.AppendEnd(b, name)
}

// prefixOf is the prefix that the root declares for a namespace, "" for none.
func prefixOf(space string) string {
	switch space {
	case DiffNamespace:
		return "d"
	case DataModel:
		return "dm"
	case RPID:
		return "rpid"
	case Caps:
		return "c"
	case CIPID:
		return "ci"
	case LocationType:
		return "lt"
	case ExtraNamespace:
		return "p"
	}
	return ""
}
