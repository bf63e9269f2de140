package pidf

import (
	"slices"
	"strconv"

	"github.com/parley-im/parley/wire/xmlpull"
)

// serviceCaps keeps to the order of RFC 5196 §6.
func (w *writer) serviceCaps(c *ServiceCaps) {
	if c == nil {
		return
	}
	w.used |= useCaps
	w.raw("<c:servcaps>")
	w.support("c:actor", &c.Actor, actorNames)
	w.flag("c:application", c.Application)
	w.flag("c:audio", c.Audio)
	w.flag("c:automata", c.Automata)
	w.support("c:class", &c.Class, classNames)
	w.flag("c:control", c.Control)
	w.flag("c:data", c.Data)
	w.notes("c:description", c.Descriptions)
	w.support("c:duplex", &c.Duplex, duplexNames)
	w.support("c:event-packages", &c.Events, eventNames)
	w.support("c:extensions", &c.Extensions, extensionNames)
	w.flag("c:isfocus", c.Focus)
	w.flag("c:message", c.Message)
	w.support("c:methods", &c.Methods, methodNames)
	w.texts("c:languages", "c:l", &c.Languages)
	w.ranges(&c.Priority)
	w.texts("c:schemes", "c:s", &c.Schemes)
	w.flag("c:text", c.Text)
	for _, t := range c.Types {
		w.b = xmlpull.AppendElement(w.b, "c:type", t)
	}
	w.flag("c:video", c.Video)
	w.raw("</c:servcaps>")
}

func (w *writer) deviceCaps(c *DeviceCaps) {
	if c == nil {
		return
	}
	w.used |= useCaps
	w.raw("<c:devcaps>")
	w.notes("c:description", c.Descriptions)
	w.support("c:mobility", &c.Mobility, mobilityNames)
	w.raw("</c:devcaps>")
}

func (w *writer) flag(name string, f Flag) {
	if f == Untold {
		return
	}
	text := "true"
	if f == No {
		text = "false"
	}
	w.b = xmlpull.AppendElement(w.b, name, text)
}

func (w *writer) support(name string, s *Support, names []string) {
	if s.empty() {
		return
	}
	w.raw("<")
	w.raw(name)
	w.raw(">")
	w.supported("c:supported", s.Yes, names)
	w.supported("c:notsupported", s.No, names)
	w.b = xmlpull.AppendEnd(w.b, name)
}

// supported writes the values that the schema knows in its order, then the others as elements of our own.
func (w *writer) supported(name string, values, names []string) {
	if len(values) == 0 {
		return
	}
	w.raw("<")
	w.raw(name)
	w.raw(">")
	left := len(values)
	for _, n := range names {
		for _, v := range values {
			if v == n || elementOfTag(v) == n {
				w.raw("<c:")
				w.raw(n)
				w.raw("/>")
				left--
				break
			}
		}
	}
	for _, v := range values {
		if left <= 0 {
			break
		}
		if n := elementOfTag(v); !slices.Contains(names, n) {
			left--
			if xmlpull.IsName(n) {
				w.used |= useExtra
				w.raw("<p:")
				w.raw(n)
				w.raw("/>")
			}
		}
	}
	w.b = xmlpull.AppendEnd(w.b, name)
}

// texts writes lists whose values are text.
func (w *writer) texts(name, item string, s *Support) {
	if s.empty() {
		return
	}
	w.raw("<")
	w.raw(name)
	w.raw(">")
	if len(s.Yes) > 0 {
		w.raw("<c:supported>")
		for _, v := range s.Yes {
			w.b = xmlpull.AppendElement(w.b, item, v)
		}
		w.raw("</c:supported>")
	}
	if len(s.No) > 0 {
		w.raw("<c:notsupported>")
		for _, v := range s.No {
			w.b = xmlpull.AppendElement(w.b, item, v)
		}
		w.raw("</c:notsupported>")
	}
	w.b = xmlpull.AppendEnd(w.b, name)
}

func (w *writer) ranges(r *Ranges) {
	if len(r.Yes) == 0 && len(r.No) == 0 {
		return
	}
	w.raw("<c:priority>")
	for i, list := range [...][]Range{r.Yes, r.No} {
		if len(list) == 0 {
			continue
		}
		name := [...]string{"c:supported", "c:notsupported"}[i]
		w.raw("<" + name + ">")
		// The schema wants one kind after the other.
		for kind := range 4 {
			for _, g := range list {
				if g.kind() == kind {
					w.rangeElement(kind, g)
				}
			}
		}
		w.b = xmlpull.AppendEnd(w.b, name)
	}
	w.raw("</c:priority>")
}

// kind is the element that says a range: equals, higherthan, lowerthan, range.
func (g Range) kind() int {
	switch {
	case g.Min == g.Max:
		return 0
	case g.Max == AnyMax && g.Min != AnyMin:
		return 1
	case g.Min == AnyMin && g.Max != AnyMax:
		return 2
	}
	return 3
}

func (w *writer) rangeElement(kind int, g Range) {
	number := func(name string, n int) {
		w.raw(name)
		w.raw(`="`)
		w.b = strconv.AppendInt(w.b, int64(n), 10)
		w.raw(`"`)
	}
	switch kind {
	case 0:
		number("<c:equals value", g.Min)
	case 1:
		// RFC 5196 §3.2.15.2; its schema says "higherhan", which no reader can be meant to look for.
		number("<c:higherthan minvalue", g.Min)
	case 2:
		number("<c:lowerthan maxvalue", g.Max)
	default:
		number("<c:range minvalue", g.Min)
		number(" maxvalue", g.Max)
	}
	w.raw("/>")
}
