package store

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-im/parley/base/id"
)

// vector is the record of the fixed vector. Its hash must be the same in every version of the program for ever.
func vector() Record {
	return Record{
		Seq:         42,
		ID:          id.ID{0x01, 0x8f, 0x2b, 0x6a, 0x00, 0x00, 0x70, 0x00, 0x80, 0, 0, 0, 0, 0, 0, 1},
		At:          time.UnixMicro(1_700_000_000_123_456).UTC(),
		Kind:        KindMessage,
		From:        "alice@example.com",
		To:          "bob@example.com",
		Device:      "plain",
		Ref:         id.ID{},
		ContentType: "text/plain;charset=utf-8",
		Body:        []byte("Grüße\r\n"),
		Meta:        map[string]string{MetaCSeq: "1", MetaCallID: "a84b4c76e66710", MetaFromTag: ""},
	}
}

func TestSumVector(t *testing.T) {
	const want = "50afa391e238a0f974e35e4790ed7ea15696560b870f51282514f06050a0c60d"
	r := vector()
	sum := r.Sum()
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.Seq, r.Hash = 43, sum
	if r.Sum() != sum {
		t.Error("Seq or Hash is part of the hash")
	}
}

// TestSumCoversAll: a change of any field changes the hash, also one that moves a byte from one field to the next.
func TestSumCoversAll(t *testing.T) {
	base := vector()
	sum := base.Sum()
	for name, change := range map[string]func(*Record){
		"ID":          func(r *Record) { r.ID[15]++ },
		"At":          func(r *Record) { r.At = r.At.Add(time.Microsecond) },
		"Kind":        func(r *Record) { r.Kind = KindReceipt },
		"From":        func(r *Record) { r.From += "x" },
		"To":          func(r *Record) { r.To = "" },
		"Device":      func(r *Record) { r.Device = "x" },
		"Ref":         func(r *Record) { r.Ref[0] = 1 },
		"ContentType": func(r *Record) { r.ContentType = "text/html" },
		"Body":        func(r *Record) { r.Body = append(r.Body, 0) },
		"Meta":        func(r *Record) { r.Meta = nil },
		"Meta value":  func(r *Record) { r.Meta[MetaCSeq] = "2" },
		"Meta key":    func(r *Record) { r.Meta["x"] = r.Meta[MetaCSeq]; delete(r.Meta, MetaCSeq) },
		"between":     func(r *Record) { r.From, r.To = r.From+r.To[:1], r.To[1:] },
		"between Meta": func(r *Record) {
			r.Meta = map[string]string{MetaCSeq + "1": "", MetaCallID: "a84b4c76e66710", MetaFromTag: ""}
		},
	} {
		r := vector()
		change(&r)
		if r.Sum() == sum {
			t.Errorf("a change of %s does not change the hash", name)
		}
	}
}

// TestSumIsInjective: the encoding can be read back, for any record.
func TestSumIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Record{At: time.UnixMicro(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "at")), Kind: rapid.String().Draw(t, "kind"),
			From: rapid.String().Draw(t, "from"), To: rapid.String().Draw(t, "to"), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
			Meta: rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "meta")}
		b := r.encode(nil)[len(hashPrefix)+40:]
		next := func() string {
			n := binary.BigEndian.Uint64(b)
			s := string(b[8 : 8+n])
			b = b[8+n:]
			return s
		}
		for _, want := range []string{r.Kind, r.From, r.To, r.Device, r.ContentType, string(r.Body)} {
			if got := next(); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		n := binary.BigEndian.Uint64(b)
		b = b[8:]
		meta := make(map[string]string)
		for range n {
			k := next()
			meta[k] = next()
		}
		if len(b) != 0 || !maps.Equal(meta, r.Meta) && len(r.Meta)+len(meta) > 0 {
			t.Fatalf("got %q and %d bytes more, want %q", meta, len(b), r.Meta)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	r := vector()
	r.Body = make([]byte, 400)
	b.ReportAllocs()
	for b.Loop() {
		r.Sum()
	}
}
