package content

import (
	"cmp"
	"strconv"

	"github.com/parley-im/parley/base/size"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/wire/rcsft"
)

// File is a file in a message.
type File struct {
	ID        string // of a file that this server keeps; empty for others
	Name      string // without a path; empty when not told
	Type      string // media type; empty when not told
	URL       string // http or https, absolute
	Size      int64  // bytes; 0 when not told
	Thumbnail string // URL of a small picture of somebody else's file, "" for none
	// Encrypted: the sender's client has encrypted it, so that only clients of its kind can read it.
	Encrypted bool
	// What is known of files that this server keeps.
	Width, Height int    // of a picture, in pixels
	SHA256        string // hexadecimal
	Small         bool   // there is a small picture of it
}

// Keys of Meta of a message with a file of ours, beside store.MetaFile.
const (
	metaFileName   = "file_name"
	metaFileType   = "file_type"
	metaFileSize   = "file_size"   // bytes
	metaFileWidth  = "file_width"  // pixels
	metaFileHeight = "file_height" // pixels
	metaFileHash   = "file_sha256" // hexadecimal
	metaFileSmall  = "file_small"  // "1"
)

// SetFile notes in a message that is not recorded yet that the file in it is one of ours: what the server found out about it goes before
// what the message says.
func SetFile(r *store.Record, f *File) {
	set := func(key, value string) {
		if value != "" && value != "0" {
			r.Meta[key] = value
		}
	}
	set(store.MetaFile, f.ID)
	set(metaFileName, f.Name)
	set(metaFileType, f.Type)
	set(metaFileSize, strconv.FormatInt(f.Size, 10))
	set(metaFileWidth, strconv.Itoa(f.Width))
	set(metaFileHeight, strconv.Itoa(f.Height))
	set(metaFileHash, f.SHA256)
	if f.Small {
		set(metaFileSmall, "1")
	}
}

// ours adds what is known of a file of ours.
func (f *File) ours(r *store.Record) {
	if f.ID = r.MetaValue(store.MetaFile); f.ID == "" {
		return
	}
	f.Name, f.Type = cmp.Or(r.MetaValue(metaFileName), f.Name), cmp.Or(r.MetaValue(metaFileType), f.Type)
	if n, err := strconv.ParseInt(r.MetaValue(metaFileSize), 10, 64); err == nil {
		f.Size = n
	}
	f.Width, _ = strconv.Atoi(r.MetaValue(metaFileWidth)) // 0 when not known
	f.Height, _ = strconv.Atoi(r.MetaValue(metaFileHeight))
	f.SHA256, f.Small, f.Thumbnail = r.MetaValue(metaFileHash), r.MetaValue(metaFileSmall) != "", ""
}

// Document is what clients that know the file transfer of RCS are told of the file.
func (f *File) Document() []byte {
	d := rcsft.Document{Files: []rcsft.Entry{{Name: rcsft.CleanName(f.Name), Type: f.Type, Size: f.Size, URL: f.URL}}}
	if f.Thumbnail != "" {
		d.Thumbnail = &rcsft.Entry{Type: "image/jpeg", URL: f.Thumbnail}
	}
	return d.Bytes()
}

// Line is a file as people read it in a plain text: the name and size, and below it where it is.
func (f *File) Line() string {
	s := "📎 " + f.title()
	if f.Size > 0 {
		s += " (" + size.Text(f.Size) + ")"
	}
	return s + "\n" + f.URL
}

func (f *File) title() string {
	switch {
	case f.Name != "":
		return f.Name
	case f.Type != "":
		return f.Type
	}
	return "file"
}

// readFile takes the file out of a document that tells of one.
func (c *Content) readFile(doc []byte) {
	d, err := rcsft.Parse(doc)
	if err != nil {
		c.add("[a file that cannot be read]", "")
		return
	}
	files := make([]*File, len(d.Files))
	for i := range d.Files {
		e := &d.Files[i]
		files[i] = &File{Name: e.Name, Type: e.Type, Size: e.Size, URL: e.URL, Encrypted: d.Encrypted}
	}
	if d.Thumbnail != nil {
		files[0].Thumbnail = d.Thumbnail.URL
	}
	for i, f := range files {
		if i == 0 && c.File == nil {
			c.File = f
		} else {
			c.add(f.Line(), "")
		}
	}
}
