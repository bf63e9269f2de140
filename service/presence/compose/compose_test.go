package compose

import (
	"testing"
	"time"

	"github.com/parley-im/parley/wire/pidf"
)

// now is noon on a working day.
var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func minutes(n int) time.Time { return now.Add(time.Duration(n) * time.Minute) }

const alice = "alice@example.com"

// published is a document with a tuple and a person.
func published(t testing.TB, device string, at int, basic, person string) Publication {
	t.Helper()
	tuple := ""
	if basic != "" {
		tuple = `<tuple id="t"><status><basic>` + basic + `</basic></status></tuple>`
	}
	return document(t, device, at, tuple+`<dm:person id="p">`+person+`</dm:person>`)
}

// document is a publication that came some minutes from now and is good for an hour.
func document(t testing.TB, device string, at int, content string) Publication {
	t.Helper()
	doc, err := pidf.Parse([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
		xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:c="urn:ietf:params:xml:ns:pidf:caps" xmlns:p="urn:parley:presence"
		entity="sip:alice@example.com">` + content + `</presence>`))
	if err != nil {
		t.Fatal(err)
	}
	return Publication{ETag: device, Device: device, Doc: doc, Updated: minutes(at), Expires: minutes(60)}
}

func act(values ...string) string {
	s := "<r:activities>"
	for _, v := range values {
		s += "<r:" + v + "/>"
	}
	return s + "</r:activities>"
}

const idle = `<r:user-input last-input="2026-03-04T11:40:00Z">idle</r:user-input>`
