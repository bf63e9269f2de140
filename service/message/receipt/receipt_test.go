package receipt

import (
	"testing"
	"time"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
	"github.com/parley-im/parley/wire/imdn"
)

func wrapped(headers, inner string) *store.Record {
	return &store.Record{Kind: store.KindMessage, ContentType: "Message/CPIM; x=y", From: "a@example.com", To: "b@example.com", At: time.Unix(1e9, 0),
		Body: []byte("From: <sip:a@example.com>\r\nDateTime: 2026-01-02T03:04:05Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n" + headers + "\r\nContent-Type: " + inner + "\r\n\r\nhi")}
}

func TestOf(t *testing.T) {
	bare := &store.Record{Kind: store.KindMessage, ContentType: "text/plain", Body: []byte("x")}
	broken := &store.Record{Kind: store.KindMessage, ContentType: "message/cpim", Body: []byte("x")}
	edit := wrapped("imdn.Message-ID: m1\r\nimdn.Disposition-Notification: display\r\n", "text/plain")
	edit.Kind = store.KindEdit
	for name, c := range map[string]struct {
		r    *store.Record
		want Asked
	}{
		"both":           {wrapped("imdn.Message-ID: m1\r\nimdn.Disposition-Notification: positive-delivery, display\r\n", "text/plain"), Asked{"m1", true, true}},
		"of liblinphone": {wrapped("imdn.Message-ID: m1\r\nimdn.Disposition-Notification: positive-delivery, negative-delivery, display\r\n", "text/plain"), Asked{"m1", true, true}},
		"parameters":     {wrapped("imdn.Message-ID: m1\r\nimdn.Disposition-Notification: Positive-Delivery;a=b\r\n", "text/plain"), Asked{"m1", true, false}},
		"failures only":  {wrapped("imdn.Message-ID: m1\r\nimdn.Disposition-Notification: negative-delivery\r\n", "text/plain"), Asked{"m1", false, false}},
		"nothing":        {wrapped("imdn.Message-ID: m1\r\n", "text/plain"), Asked{"m1", false, false}},
		"no name":        {wrapped("imdn.Disposition-Notification: display\r\n", "text/plain"), Asked{}},
		"a receipt":      {wrapped("imdn.Message-ID: m1\r\nimdn.Disposition-Notification: positive-delivery\r\n", "message/imdn+xml"), Asked{}},
		"no wrapper":     {bare, Asked{}},
		"broken":         {broken, Asked{}},
		"an edit":        {edit, Asked{}},
	} {
		if got := Of(c.r); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestBody(t *testing.T) {
	m := wrapped("imdn.Message-ID: m1\r\n", "text/plain")
	for kind, status := range map[imdn.Kind]string{imdn.Delivery: "delivered", imdn.Display: "displayed"} {
		w, err := cpim.Parse(Body(m, "m1", kind))
		if err != nil {
			t.Fatal(err)
		}
		name, want := imdn.Request(w)
		if w.From().URI != "sip:b@example.com" || w.Get("", "To") != "<sip:a@example.com>" || name == "" || len(want) != 0 || w.ContentType() != imdn.ContentType || w.ContentHeader("Content-Disposition") != "notification" {
			t.Errorf("%s: %s", kind, w.Bytes())
		}
		n, err := imdn.Parse(w.Content)
		if err != nil || n.MessageID != "m1" || n.Kind != kind || n.Status != status || n.Recipient != "sip:b@example.com" || !n.DateTime.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
			t.Errorf("%s: %+v %v", kind, n, err)
		}
	}
}

// What is asked here is understood here.
func TestAsk(t *testing.T) {
	m := &store.Record{ID: id.New(), Kind: store.KindMessage, From: "a@example.com", To: "b@example.com", At: time.Unix(1e9, 0), Meta: map[string]string{store.MetaMessageID: "m1"}}
	asks := &store.Record{Kind: store.KindMessage, ContentType: cpim.ContentType, Body: Ask(m, "text/plain", []byte("hi"))}
	if got := Of(asks); got != (Asked{"m1", true, true}) {
		t.Errorf("%+v", got)
	}
}
