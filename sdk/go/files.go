package parley

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
)

// offsetHeader tells how many bytes of an upload the server has.
const offsetHeader = "Upload-Offset"

// Upload sends size bytes of r as a file for a conversation; Send with its Id makes a message of it. When the connection is lost it
// goes on where the server is, until ctx ends.
func (c *Client) Upload(ctx context.Context, conversation, name string, r io.ReaderAt, size int64) (*v1.File, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, size)); err != nil {
		return nil, fmt.Errorf("parley: reading %s: %w", name, err)
	}
	resp, err := c.Files.CreateUpload(ctx, connect.NewRequest(&v1.CreateUploadRequest{Conversation: conversation, Name: name, Size: size}))
	if err != nil {
		return nil, err
	}
	u := resp.Msg
	var pause pauses
	for offset := int64(0); ; {
		err := c.put(ctx, u.Url, r, offset, size)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !passing(err) {
			return nil, err
		}
		if err := pause.wait(ctx, err); err != nil {
			return nil, err
		}
		if at, err := c.uploaded(ctx, u.Url); err == nil {
			offset = at
		}
	}
	done, err := c.Files.CompleteUpload(ctx, connect.NewRequest(&v1.CompleteUploadRequest{Id: u.Id, Sha256: hex.EncodeToString(sum.Sum(nil))}))
	if err != nil {
		return nil, err
	}
	return done.Msg.File, nil
}

// put sends what follows offset.
func (c *Client) put(ctx context.Context, path string, r io.ReaderAt, offset, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.url+path, io.NewSectionReader(r, offset, size-offset))
	if err != nil {
		return err
	}
	req.ContentLength = size - offset
	if req.ContentLength == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set(offsetHeader, strconv.FormatInt(offset, 10))
	resp, err := c.http.Do(req)
	return answer(resp, err)
}

// uploaded asks how much the server has.
func (c *Client) uploaded(ctx context.Context, path string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.url+path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(req)
	if err := answer(resp, err); err != nil {
		return 0, err
	}
	return strconv.ParseInt(resp.Header.Get(offsetHeader), 10, 64)
}

// Download writes a file to w.
func (c *Client) Download(ctx context.Context, f *v1.File, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+f.Url, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp)
	}
	n, err := io.Copy(w, resp.Body)
	if err == nil && n != f.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("parley: downloading %s: %w", f.Name, err)
	}
	return nil
}

// answer is nil for a 2xx without a body.
func answer(resp *http.Response, err error) error {
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
		return nil
	}
	return refused(resp)
}

// refused is an answer that is no success, as an error of the API's kind. 409 says that the server has another number of bytes.
func refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status says enough
	code := connect.CodeInvalidArgument
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized:
		code = connect.CodeUnauthenticated
	case s == http.StatusForbidden:
		code = connect.CodePermissionDenied
	case s == http.StatusNotFound:
		code = connect.CodeNotFound
	case s == http.StatusConflict:
		code = connect.CodeAborted
	case s == http.StatusTooManyRequests, s >= 500:
		code = connect.CodeUnavailable
	}
	e := connect.NewError(code, errors.New(resp.Status+": "+string(text)))
	if after := resp.Header.Get("Retry-After"); after != "" {
		e.Meta().Set("Retry-After", after)
	}
	return e
}
