package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Add a user, or many from a CSV file."`
	List    userListCmd    `cmd:"" help:"List users."`
	Show    userShowCmd    `cmd:"" help:"Show one user with devices."`
	Search  userSearchCmd  `cmd:"" help:"Find people by the beginnings of words, as they find each other."`
	Set     userSetCmd     `cmd:"" help:"Change what is told of a person; what is not given stays as it is."`
	Passwd  userPasswdCmd  `cmd:"" help:"Set a new password."`
	Disable userDisableCmd `cmd:"" help:"Close an account; its sessions end at once."`
	Enable  userEnableCmd  `cmd:"" help:"Open a closed account again."`
	Remove  userRemoveCmd  `cmd:"" help:"Remove an account. What it said stays in the archive."`
}

type userAddCmd struct {
	User          string `arg:"" optional:"" placeholder:"USER@DOMAIN" help:"Address of the new user."`
	PasswordStdin bool   `help:"Read the password from standard input; without it one is made and printed."`
	Name          string `help:"Display name."`
	Title         string `help:"What the person is: \"Head of Sales\"."`
	Department    string `help:"Department."`
	Office        string `help:"Where to find the person."`
	Phone         string `help:"Telephone number, as people write it."`
	Mobile        string `help:"Number of the mobile phone."`
	Email         string `help:"Address for e-mail."`
	Admin         bool   `help:"May administer."`
	CSV           string `placeholder:"FILE" help:"Add all users of a file: address,name,password,admin,title,department,office,phone,mobile,email in each row, or in the order of a first row with these words; only the address is needed. Missing passwords are made and printed."`
}

func (c userAddCmd) Run(a *app) error {
	if (c.User == "") == (c.CSV == "") {
		return errs.New(errs.Invalid, "give either USER@DOMAIN or --csv FILE")
	}
	list := []*v1.NewUser{{Address: c.User, Name: c.Name, Admin: c.Admin, Profile: &v1.Profile{
		Title: c.Title, Department: c.Department, Office: c.Office, Phone: c.Phone, Mobile: c.Mobile, Email: c.Email,
	}}}
	rows := &table{}
	if c.CSV != "" {
		var err error
		if rows, err = readTable(c.CSV); err != nil {
			return err
		}
		list = rows.users
	} else if c.PasswordStdin {
		var err error
		if list[0].Password, err = readPassword(); err != nil {
			return err
		}
	}
	var made []*v1.NewUser
	for _, u := range list {
		if u.Password == "" {
			u.Password = newPassword()
			made = append(made, u)
		}
	}
	return a.begin(func(p *parley.Client) error {
		resp, err := p.Users.AddUsers(a.ctx, connect.NewRequest(&v1.AddUsersRequest{Users: list}))
		if err != nil {
			return rows.locate(err)
		}
		for _, u := range made {
			fmt.Printf("%s password: %s\n", u.Address, u.Password)
		}
		fmt.Fprintln(os.Stderr, resp.Msg.Added, plural(int(resp.Msg.Added), "user", "users"), "added")
		return nil
	})
}

// newPassword is one that can be read aloud: letters in lower case and digits, 100 bits.
func newPassword() string { return strings.ToLower(rand.Text()[:20]) }

// readPassword takes the first line of standard input.
func readPassword() (string, error) {
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errs.New(errs.Invalid, "there is no password on standard input")
	}
	return line, nil
}

type userListCmd struct {
	Match string `arg:"" optional:"" help:"Part of an address or name."`
	JSON  bool   `help:"One user a line as JSON."`
}

func (c userListCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "ADDRESS\tNAME\tROLE\tSTATE")
		}
		for after, more := "", true; more; {
			resp, err := p.Users.ListUsers(a.ctx, connect.NewRequest(&v1.ListUsersRequest{Match: c.Match, After: after}))
			if err != nil {
				return err
			}
			for _, u := range resp.Msg.Users {
				after = u.Address
				if c.JSON {
					if err := printJSON(u); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Address, oneLine(u.Name), role(u), state(u))
			}
			more = resp.Msg.More
		}
		return w.Flush()
	})
}

type userShowCmd struct {
	User string `arg:"" placeholder:"USER@DOMAIN"`
}

func (c userShowCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		resp, err := p.Users.GetUser(a.ctx, connect.NewRequest(&v1.GetUserRequest{Address: c.User}))
		if err != nil {
			return err
		}
		u := resp.Msg.User
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintf(w, "address\t%s\nname\t%s\nrole\t%s\nstate\t%s\ncreated\t%s\n", u.Address, oneLine(u.Name), role(u), state(u), when(u.Created))
		showProfile(w, u.Profile)
		for _, b := range resp.Msg.Bindings {
			fmt.Fprintf(w, "signed in\t%s over %s from %s until %s (%s)\n", oneLine(b.UserAgent), b.Transport, b.Remote, when(b.Expires), oneLine(b.Device))
		}
		for _, d := range resp.Msg.DevicePasswords {
			fmt.Fprintf(w, "device password\t%s %q, last used %s%s\n", d.Id, d.Label, when(d.LastUsed), map[bool]string{true: ", revoked"}[d.Revoked])
		}
		return w.Flush()
	})
}

type userPasswdCmd struct {
	User          string `arg:"" placeholder:"USER@DOMAIN"`
	PasswordStdin bool   `help:"Read the password from standard input; without it one is made and printed."`
}

func (c userPasswdCmd) Run(a *app) error {
	password := newPassword()
	if c.PasswordStdin {
		var err error
		if password, err = readPassword(); err != nil {
			return err
		}
	}
	return a.administer(func(p *parley.Client) error {
		_, err := p.Users.SetPassword(a.ctx, connect.NewRequest(&v1.SetPasswordRequest{Address: c.User, Password: password}))
		if err == nil && !c.PasswordStdin {
			fmt.Printf("%s password: %s\n", c.User, password)
		}
		if err == nil {
			fmt.Fprintln(os.Stderr, "the password of", c.User, "is changed; devices must sign in again")
		}
		return err
	})
}

type userDisableCmd struct {
	User string `arg:"" placeholder:"USER@DOMAIN"`
}

func (c userDisableCmd) Run(a *app) error { return a.setDisabled(c.User, true) }

type userEnableCmd struct {
	User string `arg:"" placeholder:"USER@DOMAIN"`
}

func (c userEnableCmd) Run(a *app) error { return a.setDisabled(c.User, false) }

func (a *app) setDisabled(user string, disabled bool) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Users.SetDisabled(a.ctx, connect.NewRequest(&v1.SetDisabledRequest{Address: user, Disabled: disabled}))
		if err == nil {
			fmt.Fprintln(os.Stderr, user, "is", state(&v1.User{Disabled: disabled}))
		}
		return err
	})
}

type userRemoveCmd struct {
	User string `arg:"" placeholder:"USER@DOMAIN"`
}

func (c userRemoveCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Users.RemoveUser(a.ctx, connect.NewRequest(&v1.RemoveUserRequest{Address: c.User}))
		if err == nil {
			fmt.Fprintln(os.Stderr, c.User, "is removed; what it said stays in the archive")
		}
		return err
	})
}

func role(u *v1.User) string {
	if u.Admin {
		return "admin"
	}
	return "user"
}

func state(u *v1.User) string {
	if u.Disabled {
		return "disabled"
	}
	return "active"
}

func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().Local().Format("2006-01-02 15:04:05")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
