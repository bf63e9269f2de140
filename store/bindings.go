package store

import (
	"context"
	"time"
)

// BindingKey names a binding: the AOR, and the instance with its reg-id or else the contact URI (RFC 5626 §6).
type BindingKey struct{ AOR, Key string }

// Binding is one registered contact (RFC 3261 §10, RFC 5626, RFC 5627), as it must survive a restart.
type Binding struct {
	AOR, Key  string
	Contact   string // contact URI as registered
	Params    string // contact parameters as registered, ";a=b;c": capabilities (RFC 3840), methods
	Instance  string // +sip.instance, "" for none
	Device    string // the device's name in cursors and records
	RegID     uint32 // reg-id, 0 for none
	CallID    string
	CSeq      uint32
	UserAgent string
	Path      string // Path values, comma separated (RFC 3327)
	Q         uint16 // 0 … 1000
	Created   time.Time
	Updated   time.Time
	Expires   time.Time
	Transport string // "udp", "tcp", "tls", "ws", "wss"
	Listener  string // config name of the listener it came by
	Local     string // addr:port
	Remote    string // addr:port
	Outbound  bool   // RFC 5626 was used: requests go over the flow alone
	Password  string // id of the device password it signed in with, "" for none
	GRUU      string // seeds of temporary GRUUs and what else the registrar must keep for the device
}

// Bindings keeps what is registered. The registrar writes behind, in batches.
type Bindings interface {
	// LoadBindings returns all, in the order of AOR and key; also those that have expired since.
	LoadBindings(ctx context.Context) ([]Binding, error)
	// SaveBindings writes put (replacing what has the same key) and removes del, all in one transaction.
	SaveBindings(ctx context.Context, put []Binding, del []BindingKey) error
}
