package file

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"
	"time"

	"github.com/parley-im/parley/store"
)

// An address for somebody without a session has a token: 4 bytes with the hour since 1970 until which it holds, and 16 bytes of an
// HMAC-SHA-256 over the file, the receiver and that hour. It opens one file to one person's client.
const (
	tokenStamp = 4
	tokenMAC   = 16
)

// prefix is where the door is.
const prefix = "/files/"

// thumbnail is the last part of the path of a small picture.
const thumbnail = "thumbnail"

// Path is where a file is for who has a session: a path on this server.
func Path(id, fileName string) string {
	if fileName = name(fileName); fileName == thumbnail {
		fileName = "file"
	}
	return prefix + id + "/" + url.PathEscape(fileName)
}

// UploadPath is where the bytes of an upload go.
func UploadPath(id string) string { return prefix + "uploads/" + id }

// ThumbnailPath is where its small picture is, "" when it has none.
func ThumbnailPath(f *store.File) string {
	if f.Thumbnail.IsZero() {
		return ""
	}
	return prefix + f.ID + "/" + thumbnail
}

func (s *Service) mac(id, receiver string, stamp []byte) []byte {
	h := hmac.New(sha256.New, s.o.Key)
	h.Write([]byte(id + "\x00" + receiver + "\x00"))
	h.Write(stamp)
	return h.Sum(nil)[:tokenMAC]
}

// token opens a file to a receiver until then.
func (s *Service) token(id, receiver string, until time.Time) string {
	t := binary.BigEndian.AppendUint32(nil, uint32(until.Unix()/3600)) //nolint:gosec // good for 490,000 years
	return base64.RawURLEncoding.EncodeToString(append(t, s.mac(id, receiver, t)...))
}

// holds tells whether a token opens a file to a receiver, and whether it still does.
func (s *Service) holds(token, id, receiver string) (genuine, now bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenStamp+tokenMAC || receiver == "" || !hmac.Equal(b[tokenStamp:], s.mac(id, receiver, b[:tokenStamp])) {
		return false, false
	}
	until := time.Unix(int64(binary.BigEndian.Uint32(b))*3600, 0)
	return true, time.Now().Before(until)
}

// life is how long an address without a session holds.
func (s *Service) life() time.Duration {
	if s.o.Keep > 0 && s.o.Keep < linkLife {
		return s.o.Keep
	}
	return linkLife
}

// Link is the address at which a receiver (AOR) fetches a file without a session, and until when. It takes no time: make one for each
// delivery. It is "" when there is no door.
func (s *Service) Link(id, fileName, receiver string) (link string, until time.Time) {
	if s.o.Address == "" {
		return "", time.Time{}
	}
	return s.link(s.o.Address, id, fileName, receiver)
}

func (s *Service) link(at, id, fileName, receiver string) (link string, until time.Time) {
	until = time.Now().Add(s.life()).UTC().Truncate(time.Hour)
	return at + Path(id, fileName) + "?k=" + s.token(id, receiver, until), until
}

// Own tells whether an address was given to somebody (AOR) by Link or as the answer to an upload, on whatever host that was, and of
// which file it is.
func (s *Service) Own(link, receiver string) (id string, ok bool) {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil {
		return "", false
	}
	_, rest, ok := strings.Cut(u.Path, prefix)
	if id, _, _ = strings.Cut(rest, "/"); !ok || !isID(id) {
		return "", false
	}
	genuine, _ := s.holds(u.Query().Get("k"), id, receiver)
	return id, genuine
}
