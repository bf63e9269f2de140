package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

type statusCmd struct {
	JSON bool `help:"As JSON."`
}

func (c statusCmd) Run(a *app) error {
	return a.running(func(p *parley.Client) error {
		resp, err := p.Status.Status(a.ctx, connect.NewRequest(&v1.StatusRequest{}))
		if err != nil {
			return err
		}
		s := resp.Msg
		if c.JSON {
			return printJSON(s)
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintf(w, "version\t%s\nrunning for\t%s\ndomains\t%s\nlistening on\t%s\nstore\t%s\n", s.Version,
			time.Since(s.Started.AsTime()).Round(time.Second), strings.Join(s.Domains, ", "), strings.Join(s.Listeners, ", "), s.Store)
		fmt.Fprintf(w, "users\t%d\nsigned in\t%d on %d devices\nopen calls\t%d\n", s.Users, s.SignedIn, s.Devices, s.OpenCalls)
		fmt.Fprintf(w, "log\t%d records, %d to be indexed\nmemory\t%d MB\n", s.LogHead, s.LogHead-s.Indexed, s.MemoryBytes>>20)
		return w.Flush()
	})
}
