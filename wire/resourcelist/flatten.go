package resourcelist

import "fmt"

// Fetch gets what a reference of another document means: for External the list, for EntryRef a list with that one entry.
type Fetch func(kind Kind, ref string) (*List, error)

// Recipients reads a list in the body of a request (RFC 5367 §4) and returns its entries, each URI once: here a repeated
// one is no error (RFC 5363 §4.1). Lists in lists are taken apart; references are refused with ErrReference, for there
// is no XCAP root they could belong to. URIs are compared letter by letter; who knows their schemes compares further.
func Recipients(doc []byte, lim Limits) ([]Item, error) {
	p := parser{lim: lim, repeats: true}
	d, err := p.document(doc)
	if err != nil {
		return nil, err
	}
	return d.Flatten(lim, nil)
}

// Flatten returns all the entries of all the lists, in order, each URI once. If a URI stands in several lists, the
// highest precedence of Copy counts and one Anonymize is enough (RFC 5364 §4). References are followed by fetch; a list
// that comes back to itself is ErrCycle. With a nil fetch references are ErrReference. What fetch brings counts for the
// limits of depth and entries; each fetch counts as an entry.
func (d *Document) Flatten(lim Limits, fetch Fetch) ([]Item, error) {
	f := flattener{lim: lim, fetch: fetch, at: map[string]int{}}
	for i := range d.Lists {
		if err := f.list(&d.Lists[i], 1); err != nil {
			return nil, err
		}
	}
	return f.items, nil
}

type flattener struct {
	lim   Limits
	fetch Fetch
	items []Item
	at    map[string]int // URI: place in items
	path  []string       // references that are being followed
	count int
}

func (f *flattener) list(l *List, level int) error {
	if level > f.lim.Depth {
		return fmt.Errorf("%w: lists nested more than %d deep", ErrTooLarge, f.lim.Depth)
	}
	for i := range l.Items {
		it := &l.Items[i]
		if f.count++; f.count > f.lim.Entries {
			return fmt.Errorf("%w: more than %d entries", ErrTooLarge, f.lim.Entries)
		}
		switch it.Kind {
		case Entry:
			f.entry(it)
		case Sublist:
			if it.List != nil {
				if err := f.list(it.List, level+1); err != nil {
					return err
				}
			}
		default:
			if err := f.follow(it, level); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *flattener) entry(it *Item) {
	place, known := f.at[it.URI]
	if !known {
		f.at[it.URI] = len(f.items)
		f.items = append(f.items, *it)
		return
	}
	have := &f.items[place]
	if it.Copy.rank() > have.Copy.rank() {
		have.Copy = it.Copy
	}
	have.Anonymize = have.Anonymize || it.Anonymize
}

// follow takes in what a reference means.
func (f *flattener) follow(it *Item, level int) error {
	if f.fetch == nil {
		return fmt.Errorf("%w: %q", ErrReference, clip(it.URI))
	}
	for _, ref := range f.path {
		if ref == it.URI {
			return fmt.Errorf("%w: by %q", ErrCycle, clip(ref))
		}
	}
	l, err := f.fetch(it.Kind, it.URI)
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrReference, clip(it.URI), err)
	}
	if it.Kind == EntryRef && (len(l.Items) != 1 || l.Items[0].Kind != Entry && l.Items[0].Kind != EntryRef) {
		return fmt.Errorf("%w: %q is not one entry", ErrReference, clip(it.URI))
	}
	f.path = append(f.path, it.URI)
	err = f.list(l, level+1)
	f.path = f.path[:len(f.path)-1]
	return err
}
