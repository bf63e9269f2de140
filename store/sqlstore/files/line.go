package files

import (
	"time"

	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore/table"
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

// Lines is the table of files as backups have it.
var Lines = table.Table[Line]{
	Shape: files.Shape,
	Args: func(l *Line) []any {
		sum, _ := store.ParseBlobHash(l.SHA256) // none for an upload that was under way
		small, _ := store.ParseBlobHash(l.Thumbnail)
		return files.Args(&store.File{ID: l.ID, Owner: l.Owner, Conversation: l.Conversation, Name: l.Name, Type: l.Type, Size: l.Size, SHA256: sum,
			Thumbnail: small, Width: l.Width, Height: l.Height, Created: l.Created, Recorded: l.Recorded})
	},
	Scan: func(r table.Row) (Line, error) {
		f, err := files.Scan(r)
		return Line{f.ID, f.Owner, f.Conversation, f.Name, f.Type, f.Size, f.SHA256.String(), f.Thumbnail.String(), f.Width, f.Height, f.Created, f.Recorded}, err
	},
}
