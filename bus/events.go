package bus

// UserChanged: an account was added, changed or removed.
type UserChanged struct {
	AOR  string `json:"aor"`
	Kind string `json:"kind"` // one of service/directory's changes
	Node string `json:"node"` // where it was done, and has taken effect already
}

// Subject implements Event.
func (UserChanged) Subject() string { return "user.changed" }
