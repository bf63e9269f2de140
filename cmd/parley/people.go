package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	parley "github.com/parley-im/parley/sdk/go"
)

type userSearchCmd struct {
	Words []string `arg:"" help:"Beginnings of words of the name, address, title and department; all of them must fit."`
	Limit int      `default:"50" help:"Most people to print; 0 for all."`
	JSON  bool     `help:"One person a line as JSON."`
}

func (c userSearchCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "ADDRESS\tNAME\tTITLE\tDEPARTMENT\tPHONE")
		}
		const most = 50 // on a page
		req := &v1.FindPeopleRequest{Words: strings.Join(c.Words, " "), Limit: most}
		for left := c.Limit; c.Limit == 0 || left > 0; left -= most {
			if c.Limit > 0 {
				req.Limit = int32(min(left, most))
			}
			resp, err := p.People.FindPeople(a.ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			for _, u := range resp.Msg.People {
				if c.JSON {
					if err := printJSON(u); err != nil {
						return err
					}
					continue
				}
				f := u.Profile
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Address, oneLine(u.Name), oneLine(f.GetTitle()), oneLine(f.GetDepartment()), oneLine(f.GetPhone()))
			}
			if req.After = resp.Msg.Next; req.After == "" {
				break
			}
		}
		return w.Flush()
	})
}

type userSetCmd struct {
	User       string  `arg:"" placeholder:"USER@DOMAIN"`
	Name       *string `help:"Display name; '' for none, as with all of these."`
	Title      *string `help:"What the person is: \"Head of Sales\"."`
	Department *string `help:"Department."`
	Office     *string `help:"Where to find the person."`
	Phone      *string `help:"Telephone number, as people write it."`
	Mobile     *string `help:"Number of the mobile phone."`
	Email      *string `help:"Address for e-mail."`
}

func (c userSetCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Users.SetProfile(a.ctx, connect.NewRequest(&v1.SetProfileRequest{
			Address: c.User, Name: c.Name, Title: c.Title, Department: c.Department, Office: c.Office, Phone: c.Phone, Mobile: c.Mobile, Email: c.Email,
		}))
		return err
	})
}

// showProfile prints what is told of a person, a line for each.
func showProfile(w io.Writer, f *v1.Profile) {
	for _, row := range [][2]string{{"title", f.GetTitle()}, {"department", f.GetDepartment()}, {"office", f.GetOffice()},
		{"phone", f.GetPhone()}, {"mobile", f.GetMobile()}, {"email", f.GetEmail()}} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], oneLine(row[1]))
		}
	}
}
