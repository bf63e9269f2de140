package files

import (
	"time"

	"github.com/parley-im/parley/store"
)

// Row is *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// The table as it is written and read; the first column is its key.
const (
	Name    = "files"
	Columns = "id, owner, conversation, name, type, size, sha256, thumbnail, width, height, created, recorded"
	Count   = 12 // of columns
)

// Line is a row in a backup, in words that other programs can read.
type Line struct {
	ID           string    `json:"id"`
	Owner        string    `json:"owner"`
	Conversation string    `json:"conversation,omitempty"`
	Name         string    `json:"name"`
	Type         string    `json:"type"`
	Size         int64     `json:"size"`
	SHA256       string    `json:"sha256,omitempty"`
	Thumbnail    string    `json:"thumbnail,omitempty"`
	Width        int       `json:"width,omitempty"`
	Height       int       `json:"height,omitempty"`
	Created      time.Time `json:"created"`
	Recorded     int64     `json:"recorded,omitempty"`
}

// Scan reads a row for a backup.
func Scan(r Row) (*Line, error) {
	f, err := scanFile(r)
	if err != nil {
		return nil, err
	}
	return &Line{f.ID, f.Owner, f.Conversation, f.Name, f.Type, f.Size, f.SHA256.String(), f.Thumbnail.String(), f.Width, f.Height, f.Created, f.Recorded}, nil
}

// Args are the values of the row of a line.
func (l *Line) Args() []any {
	sum, _ := store.ParseBlobHash(l.SHA256) // none for an upload that was under way
	small, _ := store.ParseBlobHash(l.Thumbnail)
	return fileArgs(&store.File{ID: l.ID, Owner: l.Owner, Conversation: l.Conversation, Name: l.Name, Type: l.Type, Size: l.Size, SHA256: sum, Thumbnail: small,
		Width: l.Width, Height: l.Height, Created: l.Created, Recorded: l.Recorded})
}

// hash is h as a column has it: no bytes for none.
func hash(h store.BlobHash) []byte {
	if h.IsZero() {
		return []byte{}
	}
	return h[:]
}

func fileArgs(f *store.File) []any {
	return []any{f.ID, f.Owner, f.Conversation, f.Name, f.Type, f.Size, hash(f.SHA256), hash(f.Thumbnail), f.Width, f.Height, f.Created.UnixMicro(), f.Recorded}
}

func scanFile(r Row) (*store.File, error) {
	var f store.File
	var sum, small []byte
	var created int64
	err := r.Scan(&f.ID, &f.Owner, &f.Conversation, &f.Name, &f.Type, &f.Size, &sum, &small, &f.Width, &f.Height, &created, &f.Recorded)
	copy(f.SHA256[:], sum)
	copy(f.Thumbnail[:], small)
	f.Created = time.UnixMicro(created).UTC()
	return &f, err
}
