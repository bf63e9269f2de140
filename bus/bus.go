// Package bus carries typed events between services and nodes, on NATS: embedded in the process, or joined. An event is
// only a hint: whoever reads events also looks at the log or the store when it starts and from time to time.
package bus

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/base/errs"
)

// startWithin bounds the start of the embedded server.
const startWithin = 5 * time.Second

// configText is the whole configuration of the embedded server. Accounts and options made by hand instead of by its
// parser lose state over restarts.
const configText = `
server_name: parley
max_payload: 1MB
`

// Options of Open.
type Options struct {
	URL string       // nats://… of a bus to join; "" for one of our own in this process
	Log *slog.Logger // nil: nothing is logged
}

// Bus is a connection to the bus, and the bus itself when it is embedded.
type Bus struct {
	server *server.Server
	conn   *nats.Conn
	log    *slog.Logger
}

// Event is what can be published: a struct of plain values that says its subject.
type Event interface {
	// Subject is the NATS subject without the common prefix, in lower case: "user.changed".
	Subject() string
}

// Open starts the embedded bus, or joins one. Errors have kind Unavailable.
func Open(o Options) (*Bus, error) {
	b := &Bus{log: o.Log}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	opts := []nats.Option{nats.Name("parley"), nats.MaxReconnects(-1), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		b.log.Warn("bus: events were lost; readers catch up from the store", "err", err)
	})}
	url := o.URL
	if url == "" {
		if err := b.embed(); err != nil {
			return nil, err
		}
		opts = append(opts, nats.InProcessServer(b.server))
	}
	var err error
	if b.conn, err = nats.Connect(url, opts...); err != nil {
		b.Close()
		return nil, errs.Wrap(errs.Unavailable, err, "bus: connecting")
	}
	return b, nil
}

// embed starts the server in this process.
func (b *Bus) embed() error {
	folder, err := os.MkdirTemp("", "parley-bus-")
	if err != nil {
		return errs.Wrap(errs.Unavailable, err, "bus: making a temporary folder")
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "nats.conf")
	if err := os.WriteFile(file, []byte(configText), 0o600); err != nil {
		return errs.Wrap(errs.Unavailable, err, "bus: writing the configuration")
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "bus: reading the configuration")
	}
	opts.DontListen, opts.NoSigs, opts.NoLog = true, true, true
	b.server, err = server.NewServer(opts)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "bus: making the embedded server")
	}
	go b.server.Start() // ends with Shutdown
	if !b.server.ReadyForConnections(startWithin) {
		b.Close()
		return errs.New(errs.Unavailable, "bus: the embedded server did not start within %v", startWithin)
	}
	return nil
}

// Close ends the connection after what was published has been handed over, and the embedded server.
func (b *Bus) Close() {
	if b.conn != nil {
		_ = b.conn.FlushTimeout(time.Second) // hints only
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

func subject(e Event) string { return "parley." + e.Subject() }

// Publish sends an event to every subscriber on every node. It does not block; what cannot be sent is logged.
func Publish(b *Bus, e Event) {
	data, err := json.Marshal(e)
	if err == nil {
		err = b.conn.Publish(subject(e), data)
	}
	if err != nil {
		b.log.Warn("bus: an event was not published", "subject", e.Subject(), "err", err)
	}
}

// Subscribe calls fn for each event of its type, one at a time, until the bus is closed or cancel is called.
func Subscribe[T Event](b *Bus, fn func(T)) (cancel func(), err error) {
	var zero T
	sub, err := b.conn.Subscribe(subject(zero), func(m *nats.Msg) {
		var e T
		if err := json.Unmarshal(m.Data, &e); err != nil {
			b.log.Warn("bus: an event cannot be read; is another version on the bus?", "type", reflect.TypeFor[T]().String(), "err", err)
			return
		}
		fn(e)
	})
	if err == nil {
		err = b.conn.FlushTimeout(startWithin) // what is published from now on is heard
	}
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, err, fmt.Sprintf("bus: subscribing to %s", strings.TrimSpace(zero.Subject())))
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only on a closed bus
}
