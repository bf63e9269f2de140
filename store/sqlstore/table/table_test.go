package table

import (
	"slices"
	"testing"
	"time"
)

// pet is kept under a place and a name.
type pet struct {
	place, name string
	born        time.Time
	tame        bool
}

var pets = Table[pet]{
	Shape: Shape{Name: "pets", Columns: "place, name, born, tame", Key: "place, name"},
	Args:  func(p *pet) []any { return []any{p.place, p.name, Micros(p.born), Number(p.tame)} },
	Scan: func(r Row) (p pet, err error) {
		var born, tame int64
		err = r.Scan(&p.place, &p.name, &born, &tame)
		p.born, p.tame = FromMicros(born), tame != 0
		return p, err
	},
}

func TestShape(t *testing.T) {
	t.Parallel()
	if n := pets.Count(); n != 4 {
		t.Errorf("%d columns", n)
	}
	for got, want := range map[string]string{
		pets.Into():    "pets (place, name, born, tame)",
		pets.Select():  "SELECT place, name, born, tame FROM pets ",
		pets.Replace(): " ON CONFLICT (place, name) DO UPDATE SET born = excluded.born, tame = excluded.tame",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestLatest: one statement names no key twice, and texts are fit for both databases.
func TestLatest(t *testing.T) {
	t.Parallel()
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	rows := []pet{{"a", "x", at(5), true}, {"a", "y", time.Time{}, false}, {"a", "x", at(3), false}, {"b", "x\x00\xff", at(1), false}}
	key := func(p *pet) [2]string { return [2]string{p.place, p.name} }
	x, y, odd := []any{"a", "x", int64(5e6), int64(1)}, []any{"a", "y", int64(0), int64(0)}, []any{"b", "x\uFFFD\uFFFD", int64(1e6), int64(0)}
	got := Latest(&pets, rows, key, func(it, former *pet) bool { return it.born.After(former.born) })
	if want := slices.Concat(x, y, odd); !slices.Equal(got, want) {
		t.Errorf("the one born last: %v, want %v", got, want)
	}
	got = Latest(&pets, rows, key, func(_, _ *pet) bool { return true })
	if want := slices.Concat(y, []any{"a", "x", int64(3e6), int64(0)}, odd); !slices.Equal(got, want) {
		t.Errorf("the last one: %v, want %v", got, want)
	}
}

// row is one that was read.
type row []any

func (r row) Scan(dest ...any) error {
	for i := range dest {
		switch d := dest[i].(type) {
		case *string:
			*d = r[i].(string)
		case *int64:
			*d = r[i].(int64)
		}
	}
	return nil
}

// TestOf: what is a field of something larger is written and read as it is alone, and nothing of another table is.
func TestOf(t *testing.T) {
	t.Parallel()
	type line struct{ cat, dog *pet }
	dogs := Of(&pets, func(l *line) **pet { return &l.dog })
	rex := pet{"a", "rex", time.Unix(7, 0).UTC(), true}
	args := dogs.Args(&line{dog: &rex})
	if back, err := dogs.Scan(row(args)); err != nil || back.cat != nil || *back.dog != rex {
		t.Errorf("%v came back as %+v, %v", args, back.dog, err)
	}
	if args := dogs.Args(&line{cat: &rex}); args != nil {
		t.Errorf("a cat is a dog: %v", args)
	}
}
