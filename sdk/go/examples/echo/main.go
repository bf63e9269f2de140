// Command echo is a bot that answers every message with its own text.
package main

import (
	"context"
	"log"
	"os"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

func main() {
	ctx := context.Background()
	c, err := parley.SignIn(ctx, os.Getenv("PARLEY_URL"), os.Getenv("PARLEY_ADDRESS"), os.Getenv("PARLEY_PASSWORD"))
	if err != nil {
		log.Fatal("signing in: ", parley.Reason(err))
	}
	log.Fatal(c.Listen(ctx, parley.Handlers{Message: func(m *v1.Message) {
		if m.From == c.Address() || m.Text == "" {
			return
		}
		if _, err := c.Say(ctx, m.Conversation, "You said: "+m.Text); err != nil {
			log.Print("answering: ", parley.Reason(err))
		}
	}}))
}
