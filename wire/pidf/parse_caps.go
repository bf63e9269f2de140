package pidf

import (
	"strconv"
	"strings"

	"github.com/parley-im/parley/wire/xmlpull"
)

func (p *parser) serviceCaps() *ServiceCaps {
	c := &ServiceCaps{}
	depth := p.r.Depth()
	for p.r.Child(depth) {
		if p.r.Space != Caps {
			continue
		}
		if f := c.flag(p.r.Local); f != nil {
			*f = xmlBoolean(p.r.Text())
			continue
		}
		switch p.r.Local {
		case "actor":
			p.support(&c.Actor)
		case "class":
			p.support(&c.Class)
		case "duplex":
			p.support(&c.Duplex)
		case "event-packages":
			p.support(&c.Events)
		case "extensions":
			p.support(&c.Extensions)
		case "methods":
			p.support(&c.Methods)
		case "languages":
			p.support(&c.Languages)
		case "schemes":
			p.support(&c.Schemes)
		case "priority":
			p.ranges(&c.Priority)
		case "type":
			if t := p.r.Text(); t != "" {
				c.Types = append(c.Types, t)
			}
		case "description":
			c.Descriptions = p.note(c.Descriptions)
		}
	}
	return c
}

func (p *parser) deviceCaps() *DeviceCaps {
	c := &DeviceCaps{}
	depth := p.r.Depth()
	for p.r.Child(depth) {
		switch {
		case p.r.Space != Caps:
		case p.r.Local == "mobility":
			p.support(&c.Mobility)
		case p.r.Local == "description":
			c.Descriptions = p.note(c.Descriptions)
		}
	}
	return c
}

func xmlBoolean(s string) Flag {
	switch strings.ToLower(s) {
	case "true", "1":
		return Yes
	case "false", "0":
		return No
	}
	return Untold
}

// support reads supported and notsupported. Languages and schemes are texts of elements l and s, the others names.
func (p *parser) support(s *Support) {
	text := p.r.Local == "languages" || p.r.Local == "schemes"
	depth := p.r.Depth()
	for p.r.Child(depth) {
		list := &s.Yes
		switch p.r.Local {
		case "supported":
		case "notsupported":
			list = &s.No
		default:
			continue
		}
		for p.r.Child(depth + 1) {
			v := ""
			switch {
			case p.r.Space != Caps && p.r.Space != ExtraNamespace:
			case text:
				v = p.r.Text()
			case xmlpull.IsName(p.r.Local):
				v = tagOfElement(p.r.Local)
			}
			if v != "" {
				*list = append(*list, v)
			}
		}
	}
}

func (p *parser) ranges(r *Ranges) {
	depth := p.r.Depth()
	for p.r.Child(depth) {
		list := &r.Yes
		switch p.r.Local {
		case "supported":
		case "notsupported":
			list = &r.No
		default:
			continue
		}
		for p.r.Child(depth + 1) {
			g, ok := Range{AnyMin, AnyMax}, true
			read := func(name string, into *int) {
				n, err := strconv.ParseInt(p.r.Attr("", name), 10, 32)
				*into, ok = int(n), ok && err == nil
			}
			switch p.r.Local {
			case "equals":
				read("value", &g.Min)
				g.Max = g.Min
			case "higherthan", "higherhan": // the second is what the schema says
				read("minvalue", &g.Min)
			case "lowerthan":
				read("maxvalue", &g.Max)
			case "range":
				read("minvalue", &g.Min)
				read("maxvalue", &g.Max)
			default:
				ok = false
			}
			if ok {
				*list = append(*list, g)
			}
		}
	}
}
