package store

import (
	"context"
	"time"
)

// User is an account. Secrets are stored as given: argon2id text for people, sealed HA1 values for digest.
type User struct {
	AOR       string // "alice@example.com"; the key, never changes
	Name      string // display name, "" for none
	Password  string // argon2id in its text form
	HA1MD5    []byte // sealed H(user:realm:password) with MD5; nil for none
	HA1SHA256 []byte // the same with SHA-256
	Admin     bool
	Disabled  bool
	Created   time.Time // set by AddUsers when zero
	Changed   time.Time // set by AddUsers and UpdateUser
	Since     int64     // head of the log when the account was made, set by AddUsers when zero; zero for older accounts: not known
	Person
}

// UserFilter selects users. The zero filter is all of them.
type UserFilter struct {
	Domain string // only "…@Domain"
	Match  string // only where AOR or Name contains this, in any case of ASCII letters
	After  string // only AORs above (paging)
	Limit  int    // most users to return; 0: no limit
}

// DevicePassword is a generated password of one device that can be revoked by itself.
type DevicePassword struct {
	ID        string // unique
	AOR       string
	Label     string
	HA1MD5    []byte
	HA1SHA256 []byte
	Created   time.Time
	LastUsed  time.Time // zero: never
	Revoked   bool
}

// Users keeps accounts and their device passwords.
type Users interface {
	// User returns the account, or ErrNotFound.
	User(ctx context.Context, aor string) (*User, error)
	// Users returns accounts in the order of their AORs.
	Users(ctx context.Context, f UserFilter) ([]User, error)
	// AddUsers adds all or none. When some exist already the error has kind Conflict and names up to five of them.
	AddUsers(ctx context.Context, users []User) error
	// UpdateUser replaces everything but AOR and Created, and sets Changed. ErrNotFound.
	UpdateUser(ctx context.Context, u User) error
	// RemoveUser removes the account with its device passwords, bindings, cursors, drafts, contacts and relations. ErrNotFound. The log
	// keeps its records, and others keep it as a contact.
	RemoveUser(ctx context.Context, aor string) error
	// CountUsers counts the accounts.
	CountUsers(ctx context.Context) (int, error)

	// DevicePasswords returns the account's, oldest first, the revoked ones as well.
	DevicePasswords(ctx context.Context, aor string) ([]DevicePassword, error)
	// AddDevicePassword: ErrNotFound when there is no such account, kind Conflict when the ID exists.
	AddDevicePassword(ctx context.Context, p DevicePassword) error
	// RevokeDevicePassword: ErrNotFound when the account has no such device password.
	RevokeDevicePassword(ctx context.Context, aor, pid string) error
	// TouchDevicePasswords notes when these (by ID) were last used; unknown ones are ignored.
	TouchDevicePasswords(ctx context.Context, used map[string]time.Time) error
}
