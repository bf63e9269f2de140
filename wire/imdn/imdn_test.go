package imdn

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/wire/cpim"
)

// RFC 5438 §7.2.1.1
const delivered = `<imdn xmlns="urn:ietf:params:xml:ns:imdn">
 <message-id>34jk324j</message-id>
 <datetime>2008-04-04T12:16:49-05:00</datetime>
 <recipient-uri>im:bob@example.com</recipient-uri>
 <original-recipient-uri>im:bob@example.com</original-recipient-uri>
 <delivery-notification><status><delivered/></status></delivery-notification>
</imdn>`

func TestParse(t *testing.T) {
	n, err := Parse([]byte(delivered))
	if err != nil {
		t.Fatal(err)
	}
	want := Notification{
		MessageID: "34jk324j", Recipient: "im:bob@example.com", Kind: Delivery, Status: "delivered",
		DateTime: time.Date(2008, 4, 4, 17, 16, 49, 0, time.UTC),
	}
	if !n.DateTime.Equal(want.DateTime) {
		t.Errorf("time %v", n.DateTime)
	}
	n.DateTime = want.DateTime
	if n != want {
		t.Errorf("got %+v", n)
	}
}

func TestRoundTrip(t *testing.T) {
	for kind, status := range map[Kind]string{Delivery: "failed", Display: "displayed", Processing: "stored"} {
		n := Notification{MessageID: "a<b&c", Kind: kind, Status: status, DateTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		back, err := Parse(n.Bytes())
		if err != nil || back != n {
			t.Errorf("%+v became %+v, %v\n%s", n, back, err, n.Bytes())
		}
	}
}

// All elements are in the namespace of RFC 5438 §11.1.6, without prefixes: clients compare nothing else.
func TestWritten(t *testing.T) {
	n := Notification{MessageID: "a<b", Recipient: "sip:a@example.com", Kind: Display, Status: "displayed", DateTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	want := `<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>a&lt;b</message-id><datetime>2026-01-02T03:04:05Z</datetime>` +
		`<recipient-uri>sip:a@example.com</recipient-uri><display-notification><status><displayed/></status></display-notification></imdn>`
	if got := string(n.Bytes()); got != want {
		t.Errorf("got %s", got)
	}
}

func TestMalformed(t *testing.T) {
	for name, doc := range map[string]string{
		"not XML":   "hello",
		"doctype":   `<!DOCTYPE x>` + delivered,
		"no id":     strings.Replace(delivered, "34jk324j", "", 1),
		"no status": strings.Replace(delivered, "<delivered/>", "", 1),
		"two":       strings.Replace(delivered, "</imdn>", "<display-notification><status><displayed/></status></display-notification></imdn>", 1),
		"other":     `<note xmlns="urn:x"/>`,
	} {
		if _, err := Parse([]byte(doc)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}

func TestRequest(t *testing.T) {
	m, err := cpim.Parse([]byte("NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: x1\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\n\r\nhi"))
	if err != nil {
		t.Fatal(err)
	}
	id, want := Request(m)
	if id != "x1" || !slices.Equal(want, []string{"positive-delivery", "display"}) {
		t.Errorf("got %q, %q", id, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(delivered))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Parse(b)
		if err != nil {
			return
		}
		if _, err := Parse(n.Bytes()); err != nil {
			t.Fatalf("written form of %+v does not parse: %v\n%s", n, err, n.Bytes())
		}
	})
}
