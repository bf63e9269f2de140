package store

import (
	"context"
	"encoding/hex"
	"io"
	"time"

	"github.com/parley-im/parley/base/errs"
)

// BlobHash is the SHA-256 of some content, by which it is kept. The zero value is none.
type BlobHash [32]byte

// String is the hash in 64 hexadecimal digits, "" for none.
func (h BlobHash) String() string {
	if h.IsZero() {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// IsZero says that h is no hash.
func (h BlobHash) IsZero() bool { return h == BlobHash{} }

// ParseBlobHash reads 64 hexadecimal digits.
func ParseBlobHash(text string) (h BlobHash, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, false
	}
	copy(h[:], b)
	return h, true
}

// Blob is content that is being read. Its owner closes it.
type Blob interface {
	io.ReadSeekCloser
	Size() int64 // bytes
}

// ErrNoSpace (Unavailable): the disk that keeps the content of files is full, or so full that the log would suffer.
var ErrNoSpace = errs.New(errs.Unavailable, "store: there is no room for files on the disk")

// Blobs keeps the content of files, each content once, under its SHA-256. Content grows as a part, under a name that its
// maker chooses (1 to 64 lower-case letters, digits and "-"), until it is committed. Parts outlive a restart. Two calls for
// one part at the same time: the later one fails with kind Conflict. What is in an object store some day fits behind this.
type Blobs interface {
	// Append puts what r gives behind the first offset bytes of a part; with offset 0 it makes the part. It returns how many
	// bytes the part has now, also when r or the disk failed; what r gave before that is kept, and synced. Errors: Conflict when the part
	// has another size, ErrNoSpace (then nothing of the part is left), those of r.
	Append(ctx context.Context, part string, offset int64, r io.Reader) (size int64, err error)
	// Part opens a part for reading. ErrNotFound.
	Part(ctx context.Context, part string) (Blob, error)
	// Sum is the hash and the size of a part.
	Sum(ctx context.Context, part string) (BlobHash, int64, error)
	// Commit makes a part content. It is on the disk when Commit returns; when it was there before, it is there once.
	Commit(ctx context.Context, part string) (BlobHash, int64, error)
	// Discard removes a part, if there is one.
	Discard(ctx context.Context, part string) error
	// Parts calls f for each part, with the time it was last written to. Parts that come or go meanwhile may be left out.
	Parts(ctx context.Context, f func(part string, size int64, written time.Time) error) error

	// Open opens content. ErrNotFound.
	Open(ctx context.Context, h BlobHash) (Blob, error)
	// Touch is as if the content was committed now: for whoever is about to make another file of it. ErrNotFound.
	Touch(ctx context.Context, h BlobHash) error
	// Remove removes content that nobody committed since a time. It says whether it is gone.
	Remove(ctx context.Context, h BlobHash, since time.Time) (bool, error)
	// Walk calls f for all content, with the time it was last committed.
	Walk(ctx context.Context, f func(h BlobHash, size int64, committed time.Time) error) error
}

// File is a file that somebody uploads, or has uploaded.
type File struct {
	ID           string    // 32 hexadecimal digits of chance: who does not know it cannot guess it
	Owner        string    // AOR of who uploads it
	Conversation string    // AOR of the other side; "" until a message names it
	Name         string    // for people, without a path
	Type         string    // media type: as it was announced, once it is complete as it was found
	Size         int64     // bytes, as announced
	SHA256       BlobHash  // of the content; none while it is being uploaded
	Thumbnail    BlobHash  // of a small picture of it; none for none
	Width        int       // of a picture, in pixels
	Height       int       // of a picture, in pixels
	Created      time.Time // set by AddFile when zero
	Recorded     int64     // Seq of the message that names it; 0: there is none yet, and nobody may fetch it
}

// Complete says that all of its content is there.
func (f *File) Complete() bool { return !f.SHA256.IsZero() }

// FileQuota bounds what one person may have uploaded, or begun to upload, without a message that names it.
type FileQuota struct {
	Files int   // at most
	Bytes int64 // all together
}

// Files knows the files of messages; their content is in Blobs. Files that no message names go with the account of their owner,
// the others stay, as the messages do.
type Files interface {
	// AddFile adds one. TooMany when its owner is beyond the quota with it, ErrNotFound when there is no such account.
	AddFile(ctx context.Context, f File, q FileQuota) error
	// File returns one, or ErrNotFound.
	File(ctx context.Context, id string) (*File, error)
	// CompleteFile sets what was found out about the content: Name, Type, Size, SHA256, Thumbnail, Width and Height. ErrNotFound, Conflict
	// when it is complete already.
	CompleteFile(ctx context.Context, f File) error
	// ClaimFile binds a complete file to a conversation, if it is in none or in this one already, else Conflict. ErrNotFound.
	ClaimFile(ctx context.Context, id, conversation string) error
	// RecordFiles notes the messages that name files, by ID. The first message of each counts.
	RecordFiles(ctx context.Context, seqs map[string]int64) error
	// OldFiles returns up to limit files that were added before a time, oldest first: those that a message names, or the others.
	OldFiles(ctx context.Context, recorded bool, before time.Time, limit int) ([]File, error)
	// RemoveFiles removes those, whatever they are.
	RemoveFiles(ctx context.Context, ids ...string) error
	// HasContent says whether any file or thumbnail has this content.
	HasContent(ctx context.Context, h BlobHash) (bool, error)
	// CountOpen counts the uploads that are under way.
	CountOpen(ctx context.Context) (int, error)
}
