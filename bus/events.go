package bus

// UserChanged: an account was added, changed or removed.
type UserChanged struct {
	AOR  string `json:"aor"`
	Kind string `json:"kind"` // one of service/directory's changes
}

// Subject implements Event.
func (UserChanged) Subject() string { return "user.changed" }
