package parley

import (
	"context"
	"crypto/rand"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
)

// Say says text to somebody, by address. It returns when it is on record, and tries again until ctx ends when the server cannot be
// reached: it is said once.
func (c *Client) Say(ctx context.Context, to, text string) (*v1.Message, error) {
	return c.Send(ctx, &v1.SendRequest{Conversation: to, Text: text})
}

// Send is Say with everything that a message can have. It sets RequestId when it is empty.
func (c *Client) Send(ctx context.Context, m *v1.SendRequest) (*v1.Message, error) {
	if m.RequestId == "" {
		m.RequestId = rand.Text()
	}
	var pause pauses
	for {
		resp, err := c.Messages.Send(ctx, connect.NewRequest(m))
		if err == nil {
			return resp.Msg.Message, nil
		}
		if ctx.Err() != nil || !passing(err) {
			return nil, err
		}
		if pause.wait(ctx, err) != nil {
			return nil, err
		}
	}
}
