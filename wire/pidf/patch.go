package pidf

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/parley-im/parley/wire/xmlpull"
)

// What can be wrong with a partial document. The watcher then asks for the full state again (RFC 5263 §4.5).
var (
	// ErrStale is a document that is not newer than what is there; it is to be ignored.
	ErrStale = errors.New("pidf: the document is not newer than the local one")
	// ErrLost says that documents between the local one and this one are missing.
	ErrLost = errors.New("pidf: a partial document is missing before this one")
	// ErrPatch is an operation that does not fit the local document.
	ErrPatch = errors.New("pidf: the partial document does not fit")
)

// Update is a watcher's step in a series of partial notifications (RFC 5263 §4.5): local is the document so far with its
// version, doc the body of the new NOTIFY. It returns the document that holds now, as a full one, and its version. At
// first local is nil. local stays as it was after an error.
func Update(local []byte, version uint32, doc []byte) ([]byte, uint32, error) {
	root, err := readTree(doc)
	if err != nil {
		return nil, 0, err
	}
	next, err := root.version()
	switch {
	case err != nil:
		return nil, 0, err
	case root.space == DiffNamespace && root.local == "pidf-full":
		if local != nil && next <= version {
			return nil, 0, ErrStale
		}
		return slices.Clone(doc), next, nil
	case root.space != DiffNamespace || root.local != "pidf-diff":
		return nil, 0, fmt.Errorf("%w: the root is %q", ErrInvalid, clip(root.local))
	case local == nil:
		return nil, 0, ErrLost
	case next <= version:
		return nil, 0, ErrStale
	case next != version+1:
		return nil, 0, ErrLost
	}
	patched, err := Patch(local, doc)
	return patched, next, err
}

// Patch applies the operations of a pidf-diff to a full document (RFC 5261 §4). Of XPath it knows what presence needs:
// steps with names or *, conditions [n] and [@name='value'], attributes and text() at the end.
func Patch(doc, diff []byte) ([]byte, error) {
	full, err := readTree(doc)
	if err != nil {
		return nil, err
	}
	ops, err := readTree(diff)
	if err != nil {
		return nil, err
	}
	if ops.space != DiffNamespace || ops.local != "pidf-diff" {
		return nil, fmt.Errorf("%w: the root is %q", ErrInvalid, clip(ops.local))
	}
	for i, op := range ops.kids {
		if op.local == "" || op.space != DiffNamespace {
			continue
		}
		if err := op.apply(full); err != nil {
			return nil, fmt.Errorf("%w: operation %d: %w", ErrPatch, i+1, err)
		}
	}
	if v := ops.attr("version"); v != "" && full.space == DiffNamespace {
		full.setAttr("", "version", v)
	}
	out := append(make([]byte, 0, len(doc)+len(diff)), xmlpull.Header...)
	out = full.append(out, "", true)
	// Many small partial documents must not add up to what no reader takes.
	var r xmlpull.Reader
	if err := r.Open(out, xmlpull.Limits{Bytes: MaxBytes, Depth: MaxDepth}); err != nil {
		return nil, fmt.Errorf("%w: the result: %w", ErrPatch, err)
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("%w: the result: %w", ErrPatch, err)
	}
	return out, nil
}

// node is an element, or a text if local is "".
type node struct {
	space, local string
	attrs        []xmlpull.Attr
	kids         []*node
	text         string
	scope        map[string]string // of the root of a diff: its prefixes
}

// readTree reads a whole document. Text that is only white space is left out.
func readTree(doc []byte) (*node, error) {
	var r xmlpull.Reader
	if err := r.Open(doc, xmlpull.Limits{Bytes: MaxBytes, Depth: MaxDepth}); err != nil {
		return nil, fmt.Errorf("pidf: parse: %w", err)
	}
	root := &node{}
	stack := []*node{root}
	for k := xmlpull.Start; k != xmlpull.EOF; k = r.Next() {
		top := stack[len(stack)-1]
		switch k {
		case xmlpull.Start:
			n := &node{space: r.Space, local: r.Local, attrs: slices.Clone(r.Attrs)}
			n.scope = scope(&r, n)
			top.kids = append(top.kids, n)
			stack = append(stack, n)
		case xmlpull.End:
			stack = stack[:len(stack)-1]
		case xmlpull.Text:
			switch n := len(top.kids); {
			case n > 0 && top.kids[n-1].local == "":
				top.kids[n-1].text += r.Content
			case xmlpull.Trim(r.Content) != "":
				top.kids = append(top.kids, &node{text: r.Content})
			}
		}
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("pidf: parse: %w", err)
	}
	return root.kids[0], nil
}

// scope resolves the prefixes that the selector of an operation uses (RFC 5261 §4.2).
func scope(r *xmlpull.Reader, n *node) map[string]string {
	sel := n.attr("sel")
	if n.space != DiffNamespace || sel == "" {
		return nil
	}
	s := map[string]string{}
	s[""], _ = r.Lookup("")
	for i := 0; i < len(sel); i++ {
		start := i
		for i < len(sel) && xmlpull.IsName("_"+sel[i:i+1]) {
			i++
		}
		if i > start && i < len(sel) && sel[i] == ':' {
			prefix := sel[start:i]
			if uri, ok := r.Lookup(prefix); ok {
				s[prefix] = uri
			}
		}
	}
	return s
}

func (n *node) attr(local string) string {
	for _, a := range n.attrs {
		if a.Local == local && a.Space == "" {
			return a.Value
		}
	}
	return ""
}

func (n *node) setAttr(space, local, value string) {
	for i := range n.attrs {
		if a := &n.attrs[i]; a.Local == local && a.Space == space {
			a.Value = value
			return
		}
	}
	n.attrs = append(n.attrs, xmlpull.Attr{Space: space, Local: local, Value: value})
}

func (n *node) version() (uint32, error) {
	v, err := strconv.ParseUint(n.attr("version"), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: version %q", ErrInvalid, clip(n.attr("version")))
	}
	return uint32(v), nil
}

// content is the text of an element.
func (n *node) content() string {
	for _, k := range n.kids {
		if k.local == "" {
			return k.text
		}
	}
	return ""
}

// apply does one operation to the document.
func (op *node) apply(root *node) error {
	t, err := find(root, op.attr("sel"), op.scope)
	if err != nil {
		return err
	}
	switch op.local {
	case "add":
		return op.add(t)
	case "replace":
		switch {
		case t.attr >= 0:
			t.node.attrs[t.attr].Value = xmlpull.Trim(op.content())
		case len(op.kids) == 0 || t.parent == nil || len(op.kids) > 1:
			return errors.New("nothing to replace with, or not the document as a whole")
		default:
			t.parent.kids[t.at] = op.kids[0]
		}
		return nil
	case "remove":
		switch {
		case t.attr >= 0:
			t.node.attrs = slices.Delete(t.node.attrs, t.attr, t.attr+1)
		case t.parent == nil:
			return errors.New("the document as a whole cannot be removed")
		default:
			t.parent.kids = slices.Delete(t.parent.kids, t.at, t.at+1)
		}
		return nil
	}
	return fmt.Errorf("operation %q", clip(op.local))
}

// add is RFC 5261 §4.3.
func (op *node) add(t target) error {
	pos, kind := op.attr("pos"), op.attr("type")
	switch {
	case t.attr >= 0 || t.node.local == "":
		return errors.New("only elements can be added to")
	case len(kind) > 1 && kind[0] == '@' && xmlpull.IsName(kind[1:]):
		t.node.setAttr("", kind[1:], xmlpull.Trim(op.content()))
	case kind != "":
		return fmt.Errorf("type %q", clip(kind))
	case pos == "":
		t.node.kids = append(t.node.kids, op.kids...)
	case pos == "prepend":
		t.node.kids = slices.Insert(t.node.kids, 0, op.kids...)
	case t.parent == nil:
		return errors.New("nothing stands beside the root")
	case pos == "before":
		t.parent.kids = slices.Insert(t.parent.kids, t.at, op.kids...)
	case pos == "after":
		t.parent.kids = slices.Insert(t.parent.kids, t.at+1, op.kids...)
	default:
		return fmt.Errorf("pos %q", clip(pos))
	}
	return nil
}
