package presence

import (
	"context"

	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/service/presence/device"
	"github.com/parley-im/parley/wire/pidf"
)

// Device is what a registered device can take, for those who send something to it.
type Device struct {
	ID         string // as compose.Device.ID
	Class      pidf.DeviceClass
	Line       pidf.Line
	MaxMessage uint32 // bytes of text that are welcome; 0 when not known
}

// Slow tells whether nothing large should be sent to the device without asking.
func (d Device) Slow() bool { return device.Slow(d.Line) }

// Quiet tells whether owner is on "do not disturb" and from may not interrupt. It does not wait, and allocates nothing when
// owner's list of contacts is in memory. If it is not, nobody but the owner may interrupt, and it is read for the next time.
func (s *Service) Quiet(owner, from string) bool {
	if owner == from {
		return false
	}
	e := s.table.find(owner)
	if e == nil {
		return false
	}
	defer s.unpin(e)
	e.mu.Lock()
	dnd := e.state.Availability == pidf.DND
	e.mu.Unlock()
	if !dnd {
		return false
	}
	level, ok := s.o.Contacts.Known(owner, from)
	if !ok {
		s.warm(e)
	}
	return !ok || !level.Sight().Interrupt
}

// warm has the list of contacts of an entity read, so that Quiet knows who may interrupt. The entity is pinned.
func (s *Service) warm(e *entity) {
	e.mu.Lock()
	again := e.warming
	e.warming = true
	e.mu.Unlock()
	if again {
		return
	}
	s.table.pin(e)
	s.jobs.must(func(ctx context.Context) {
		defer s.unpin(e)
		_, _, err := s.o.Contacts.Level(ctx, e.aor, e.aor)
		e.mu.Lock()
		e.warming = false
		e.mu.Unlock()
		if err != nil {
			s.o.Log.Warn("presence: it is not known who may interrupt somebody", "aor", e.aor, "err", err)
		}
	})
}

// Device is what is known of a device that can be reached now. It does not wait and allocates nothing. A device of a class
// that is not known may take anything.
func (s *Service) Device(aor, id string) (Device, bool) {
	e := s.table.find(aor)
	if e == nil {
		return Device{}, false
	}
	defer s.unpin(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.devices {
		if e.devices[i].ID == id {
			return e.devices[i], true
		}
	}
	return Device{}, false
}

// summarise writes what src knows of devices; what a device publishes of itself wins over what was measured.
func summarise(list []Device, src *compose.Sources) []Device {
	for i := range src.Devices {
		d := &src.Devices[i]
		list = append(list, Device{ID: d.ID, Class: d.Class, Line: d.Line, MaxMessage: d.MaxMessage})
	}
	for i := range src.Publications {
		p := &src.Publications[i]
		for k := range list {
			if list[k].ID != p.Device || p.Doc == nil {
				continue
			}
			for j := range p.Doc.Tuples {
				list[k].told(&p.Doc.Tuples[j].Extra)
			}
			for j := range p.Doc.Devices {
				list[k].told(&p.Doc.Devices[j].Extra)
			}
		}
	}
	return list
}

func (d *Device) told(x *pidf.Extra) {
	if x.Device.Valid() {
		d.Class = x.Device
	}
	if x.Line.RTT > 0 {
		d.Line.RTT = x.Line.RTT
	}
	if x.Line.Throughput.Valid() {
		d.Line.Throughput = x.Line.Throughput
	}
	if x.MaxMessage > 0 {
		d.MaxMessage = x.MaxMessage
	}
}
