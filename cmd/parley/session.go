package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

type sessionCmd struct {
	List sessionListCmd `cmd:"" help:"List who has signed in to an account in a browser or a program."`
	End  sessionEndCmd  `cmd:"" help:"End one of them at once."`
}

type sessionListCmd struct {
	User string `arg:"" placeholder:"USER@DOMAIN"`
}

func (c sessionListCmd) Run(a *app) error {
	return a.running(func(p *parley.Client) error {
		resp, err := p.Users.ListSessions(a.ctx, connect.NewRequest(&v1.ListSessionsRequest{Address: c.User}))
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		for _, s := range resp.Msg.Sessions {
			now := "last used " + when(s.Seen)
			if s.Online {
				now = "online"
			}
			fmt.Fprintf(w, "%s\t%q\t%s\tfrom %s\tsince %s\t%s\n", s.Id, s.Label, s.Kind, s.From, when(s.Created), now)
		}
		return w.Flush()
	})
}

type sessionEndCmd struct {
	User string `arg:"" placeholder:"USER@DOMAIN"`
	ID   string `arg:"" placeholder:"ID" help:"As session list shows it."`
}

func (c sessionEndCmd) Run(a *app) error {
	return a.running(func(p *parley.Client) error {
		_, err := p.Users.EndSession(a.ctx, connect.NewRequest(&v1.EndSessionRequest{Address: c.User, Id: c.ID}))
		return err
	})
}
