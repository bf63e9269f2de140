package store

import "context"

// Person is what the directory tells of somebody beside name and address. Each is "" for none.
type Person struct {
	Title      string // "Head of Sales"
	Department string
	Office     string // where to find the person
	Phone      string // as people write it
	Mobile     string
	Email      string
}

// PeopleFilter selects accounts for people who look for people.
type PeopleFilter struct {
	// Words must each be the beginning of a word of the name, of the user part of the address, of the title or of the
	// department; one that holds "@" must be the beginning of the address. Case, accents and order do not count.
	Words string
	After string // PeoplePage.Next of the page before; "" for the first
	Limit int    // most accounts to return, 1 or more
}

// PeoplePage is what was found, best first: whoever has a shorter word that begins so comes before one with a longer.
type PeoplePage struct {
	People []User
	Next   string // After of the next page; "" when this is the last
}

// MaxPeopleWords is how many words a search takes; what is beyond is not looked at.
const MaxPeopleWords = 8

// People finds people. Accounts that are disabled are not found.
type People interface {
	// FindPeople returns a page. Words without a letter or digit find nobody. Errors: kind Invalid for an After that no page gave.
	FindPeople(ctx context.Context, f PeopleFilter) (PeoplePage, error)
}
