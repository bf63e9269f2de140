package bus

// UserChanged: an account was added, changed or removed.
type UserChanged struct {
	AOR  string `json:"aor"`
	Kind string `json:"kind"` // one of service/directory's changes
	Node string `json:"node"` // where it was done, and has taken effect already
}

// Subject implements Event.
func (UserChanged) Subject() string { return "user.changed" }

// ContactsChanged: the list of contacts of an account was changed.
type ContactsChanged struct {
	Owner   string `json:"owner"`
	Version int64  `json:"version"` // of the list now; 0: the account is gone
	Node    string `json:"node"`    // where it was done
}

// Subject implements Event.
func (ContactsChanged) Subject() string { return "contacts.changed" }

// LevelsChanged: what others are to an account may be something else now. Each change has its ContactsChanged as well, which
// another subscriber may not have seen yet: whoever asks service/contact for the level now tells it first, with Outdated.
type LevelsChanged struct {
	Owner   string   `json:"owner"`
	Version int64    `json:"version"`
	People  []string `json:"people,omitempty"` // addresses as in lists of contacts; none: anybody
	Node    string   `json:"node"`
}

// Subject implements Event.
func (LevelsChanged) Subject() string { return "levels.changed" }

// PresenceChanged: the state that others may see of somebody is another one.
type PresenceChanged struct {
	AOR          string `json:"aor"`
	Availability string `json:"availability"` // as wire/pidf names it
	Node         string `json:"node"`         // where it was composed
}

// Subject implements Event.
func (PresenceChanged) Subject() string { return "presence.changed" }

// SessionEnded: a session over HTTP is over. When its account was closed or got another password, UserChanged says so instead.
type SessionEnded struct {
	AOR     string `json:"aor"`
	Session string `json:"session"` // its id
	Reason  string `json:"reason"`  // for people
	Node    string `json:"node"`    // where it was ended, and has ended already
}

// Subject implements Event.
func (SessionEnded) Subject() string { return "session.ended" }

// DraftChanged: what somebody has written and not sent is something else.
type DraftChanged struct {
	Owner  string `json:"owner"`
	Device string `json:"device"` // that changed it, and need not be told
	Peer   string `json:"peer"`   // address of the other side
}

// Subject implements Event.
func (DraftChanged) Subject() string { return "draft.changed" }

// SettingsChanged: what somebody has set for the own devices is something else.
type SettingsChanged struct {
	Owner string `json:"owner"`
}

// Subject implements Event.
func (SettingsChanged) Subject() string { return "settings.changed" }
