package message

import (
	"strings"

	"github.com/parley-im/parley/base/id"
	"github.com/parley-im/parley/service/message/content"
	"github.com/parley-im/parley/service/message/receipt"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/cpim"
)

// smallest is the shortest text, in bytes, for which it is asked how much a device takes.
const smallest = 200

// render is what a device is sent of a record. For most messages of SIP clients that is what they sent.
func (d *outbox) render(r *store.Record) (contentType string, body []byte) {
	s := d.box.w.s
	var to content.Device
	if len(r.Body) > smallest {
		to.Limit = s.o.Clients.Limit(r.To, d.device)
	}
	api := r.Kind == store.KindMessage && r.MetaValue(store.MetaVia) == content.ViaAPI
	if !api && !content.Changes(r, false, to.Limit) {
		return r.ContentType, r.Body
	}
	linphone := isLinphone(s.o.Clients.Agent(r.To, d.device))
	to.RCS = linphone || d.program.rcs
	if to.Limit > 0 {
		about := r.ID
		if !r.Ref.IsZero() {
			about = r.Ref
		}
		to.Link = s.o.Clients.Link(about)
	}
	if f := r.MetaValue(store.MetaFile); f != "" && s.o.Files != nil {
		name := ""
		if c := content.Read(r); c.File != nil {
			name = c.File.Name
		}
		to.File, _ = s.o.Files.Link(f, name, r.To)
	}
	contentType, body = content.ForSIP(r, to)
	if api && (linphone || d.program.wrapped) && !d.program.noCPIM {
		return cpim.ContentType, receipt.Ask(r, contentType, body)
	}
	return contentType, body
}

// isLinphone tells whether a client is made with liblinphone, which knows CPIM, receipts and the file transfer of RCS.
func isLinphone(agent string) bool { return strings.Contains(strings.ToLower(agent), "linphone") }

// strangers are Clients of which nothing is known.
type strangers struct{}

func (strangers) Agent(string, string) string { return "" }
func (strangers) Limit(string, string) int    { return 0 }
func (strangers) Link(id.ID) string           { return "" }
