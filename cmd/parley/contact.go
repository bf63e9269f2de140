package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

type contactCmd struct {
	List   contactListCmd   `cmd:"" help:"List whom somebody has in the list of contacts."`
	Add    contactAddCmd    `cmd:"" help:"Add a contact."`
	Set    contactSetCmd    `cmd:"" help:"Change a contact; what is not given stays as it is."`
	Remove contactRemoveCmd `cmd:"" help:"Take a contact out of the list."`
	Group  contactGroupCmd  `cmd:"" help:"Groups of contacts."`
	Level  contactLevelCmd  `cmd:"" help:"Tell or decide what a person, a group or a domain is to somebody, and so what they see."`
	Owners contactOwnersCmd `cmd:"" help:"List who has an address in the list of contacts."`
}

type contactListCmd struct {
	Owner string `arg:"" placeholder:"USER@DOMAIN"`
	Group string `placeholder:"NAME" help:"Only the contacts of this group."`
	JSON  bool   `help:"One contact a line as JSON."`
}

func (c contactListCmd) Run(a *app) error {
	return a.contacts(c.Owner, func(_ *parley.Client, list *v1.ListContactsResponse) error {
		only, err := groupIDs(list, c.Owner, groupNames(c.Group))
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "ADDRESS\tNAME\tGROUPS\tNOTE")
		}
		for _, p := range list.Contacts {
			if len(only) > 0 && !slices.Contains(p.Groups, only[0]) {
				continue
			}
			if c.JSON {
				if err := printJSON(p); err != nil {
					return err
				}
				continue
			}
			var in []string
			for _, g := range list.Groups {
				if slices.Contains(p.Groups, g.Id) {
					in = append(in, g.Name)
				}
			}
			fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", map[bool]string{true: "* "}[p.Favourite], p.Address, oneLine(p.Name), oneLine(strings.Join(in, ", ")), oneLine(p.Note))
		}
		return w.Flush()
	})
}

// contacts runs f with the list of an owner.
func (a *app) contacts(owner string, f func(*parley.Client, *v1.ListContactsResponse) error) error {
	return a.administer(func(p *parley.Client) error {
		resp, err := p.Contacts.ListContacts(a.ctx, connect.NewRequest(&v1.ListContactsRequest{Owner: owner}))
		if err != nil {
			return err
		}
		return f(p, resp.Msg)
	})
}

// groupNames is one name, or none.
func groupNames(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// groupIDs finds groups by their names.
func groupIDs(list *v1.ListContactsResponse, owner string, names []string) ([]int64, error) {
	var ids []int64
	for _, name := range names {
		i := slices.IndexFunc(list.Groups, func(g *v1.ContactGroup) bool { return strings.EqualFold(g.Name, name) })
		if i < 0 {
			return nil, errs.New(errs.NotFound, "%s has no group %q; add it with parley contact group add %s %q", owner, name, owner, name)
		}
		ids = append(ids, list.Groups[i].Id)
	}
	return ids, nil
}

type contactAddCmd struct {
	Owner     string   `arg:"" placeholder:"USER@DOMAIN"`
	Address   string   `arg:"" help:"bob@example.com, sips:bob@example.com or tel:+4930123456."`
	Name      string   `help:"What the owner calls the contact."`
	Note      string   `help:"A note of the owner."`
	Favourite bool     `help:"Mark as favourite."`
	Group     []string `placeholder:"NAME" help:"Put into this group; may be given several times."`
}

func (c contactAddCmd) Run(a *app) error {
	return a.contacts(c.Owner, func(p *parley.Client, list *v1.ListContactsResponse) error {
		groups, err := groupIDs(list, c.Owner, c.Group)
		if err != nil {
			return err
		}
		resp, err := p.Contacts.AddContacts(a.ctx, connect.NewRequest(&v1.AddContactsRequest{Owner: c.Owner, Contacts: []*v1.NewContact{
			{Address: c.Address, Name: c.Name, Note: c.Note, Favourite: c.Favourite, Groups: groups},
		}}))
		if err == nil {
			fmt.Fprintln(os.Stderr, resp.Msg.Contacts[0].Address, "is in the list of", c.Owner)
		}
		return err
	})
}

type contactSetCmd struct {
	Owner     string   `arg:"" placeholder:"USER@DOMAIN"`
	Contact   string   `arg:"" placeholder:"ADDRESS" help:"As contact list shows it."`
	Address   *string  `help:"A new address."`
	Name      *string  `help:"What the owner calls the contact; '' for nothing."`
	Note      *string  `help:"A note of the owner; '' for none."`
	Favourite *bool    `negatable:"" help:"Mark as favourite, or not."`
	Position  *int64   `placeholder:"N" help:"Place in the list: lower ones come first."`
	Group     []string `placeholder:"NAME" help:"The groups to be in, instead of those it is in; may be given several times."`
	NoGroup   bool     `help:"Take out of all groups."`
}

func (c contactSetCmd) Run(a *app) error {
	if c.NoGroup && len(c.Group) > 0 {
		return errs.New(errs.Invalid, "give either --group NAME or --no-group")
	}
	return a.contacts(c.Owner, func(p *parley.Client, list *v1.ListContactsResponse) error {
		req := &v1.SetContactRequest{Owner: c.Owner, Contact: c.Contact, Address: c.Address, Name: c.Name, Note: c.Note, Favourite: c.Favourite, Position: c.Position}
		if c.NoGroup || len(c.Group) > 0 {
			groups, err := groupIDs(list, c.Owner, c.Group)
			if err != nil {
				return err
			}
			req.Groups = &v1.GroupIDs{Ids: groups}
		}
		_, err := p.Contacts.SetContact(a.ctx, connect.NewRequest(req))
		return err
	})
}

type contactRemoveCmd struct {
	Owner   string `arg:"" placeholder:"USER@DOMAIN"`
	Contact string `arg:"" placeholder:"ADDRESS" help:"As contact list shows it."`
}

func (c contactRemoveCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Contacts.RemoveContact(a.ctx, connect.NewRequest(&v1.RemoveContactRequest{Owner: c.Owner, Contact: c.Contact}))
		if err == nil {
			fmt.Fprintln(os.Stderr, c.Contact, "is no longer in the list of", c.Owner)
		}
		return err
	})
}

type contactGroupCmd struct {
	List   groupListCmd   `cmd:"" help:"List the groups of somebody."`
	Add    groupAddCmd    `cmd:"" help:"Add a group."`
	Set    groupSetCmd    `cmd:"" help:"Rename or move a group."`
	Remove groupRemoveCmd `cmd:"" help:"Remove a group; its contacts stay in the list."`
}

type groupListCmd struct {
	Owner string `arg:"" placeholder:"USER@DOMAIN"`
	JSON  bool   `help:"One group a line as JSON."`
}

func (c groupListCmd) Run(a *app) error {
	return a.contacts(c.Owner, func(_ *parley.Client, list *v1.ListContactsResponse) error {
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "GROUP\tCONTACTS\tLEVEL")
		}
		for _, g := range list.Groups {
			if c.JSON {
				if err := printJSON(g); err != nil {
					return err
				}
				continue
			}
			n, level := 0, ""
			for _, p := range list.Contacts {
				if slices.Contains(p.Groups, g.Id) {
					n++
				}
			}
			for _, r := range list.Relations {
				if r.Key.Kind == "group" && r.Key.Subject == strconv.FormatInt(g.Id, 10) {
					level = r.Level
				}
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", oneLine(g.Name), n, level)
		}
		return w.Flush()
	})
}

type groupAddCmd struct {
	Owner string `arg:"" placeholder:"USER@DOMAIN"`
	Name  string `arg:""`
}

func (c groupAddCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Contacts.AddGroup(a.ctx, connect.NewRequest(&v1.AddGroupRequest{Owner: c.Owner, Name: c.Name}))
		return err
	})
}

type groupSetCmd struct {
	Owner    string  `arg:"" placeholder:"USER@DOMAIN"`
	Group    string  `arg:"" placeholder:"NAME"`
	Name     *string `help:"A new name."`
	Position *int64  `placeholder:"N" help:"Place among the groups: lower ones come first."`
}

func (c groupSetCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Contacts.SetGroup(a.ctx, connect.NewRequest(&v1.SetGroupRequest{Owner: c.Owner, Group: c.Group, Name: c.Name, Position: c.Position}))
		return err
	})
}

type groupRemoveCmd struct {
	Owner string `arg:"" placeholder:"USER@DOMAIN"`
	Group string `arg:"" placeholder:"NAME"`
}

func (c groupRemoveCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Contacts.RemoveGroup(a.ctx, connect.NewRequest(&v1.RemoveGroupRequest{Owner: c.Owner, Group: c.Group}))
		return err
	})
}

type contactLevelCmd struct {
	Owner  string `arg:"" placeholder:"USER@DOMAIN"`
	Whom   string `arg:"" optional:"" help:"An address; with --group the name of a group, with --domain a domain. Without it all that was decided is listed."`
	Level  string `arg:"" optional:"" help:"What it is from now on: blocked, outside, colleague, team or close; none takes back what was decided. Without it the level of the address is told."`
	Group  bool   `xor:"kind" help:"WHOM is a group."`
	Domain bool   `xor:"kind" help:"WHOM is a domain."`
	JSON   bool   `help:"As JSON."`
}

func (c contactLevelCmd) Run(a *app) error {
	switch {
	case c.Whom == "":
		return a.contacts(c.Owner, func(_ *parley.Client, list *v1.ListContactsResponse) error { return c.list(list) })
	case c.Level == "" && (c.Group || c.Domain):
		return errs.New(errs.Invalid, "give a level behind it: blocked, outside, colleague, team, close or none")
	case c.Level == "":
		return a.administer(func(p *parley.Client) error {
			resp, err := p.Contacts.GetLevel(a.ctx, connect.NewRequest(&v1.GetLevelRequest{Owner: c.Owner, Person: c.Whom}))
			if err != nil {
				return err
			}
			return c.explain(resp.Msg)
		})
	}
	key := &v1.RelationKey{Kind: "person", Subject: c.Whom}
	if c.Group {
		key.Kind = "group"
	} else if c.Domain {
		key.Kind = "domain"
	}
	level := c.Level
	if level == "none" {
		level = ""
	}
	return a.administer(func(p *parley.Client) error {
		_, err := p.Contacts.SetLevel(a.ctx, connect.NewRequest(&v1.SetLevelRequest{Owner: c.Owner, Key: key, Level: level}))
		return err
	})
}

// list prints all that was decided.
func (c contactLevelCmd) list(list *v1.ListContactsResponse) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "KIND\tWHO\tLEVEL\tSINCE")
	}
	for _, r := range list.Relations {
		who := r.Key.Subject
		for _, g := range list.Groups {
			if r.Key.Kind == "group" && strconv.FormatInt(g.Id, 10) == who {
				who = g.Name
			}
		}
		if c.JSON {
			named := proto.CloneOf(r)
			named.Key.Subject = who
			if err := printJSON(named); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Key.Kind, oneLine(who), r.Level, when(r.Since))
	}
	return w.Flush()
}

// explain prints what somebody is, why, and what that lets them see.
func (c contactLevelCmd) explain(l *v1.GetLevelResponse) error {
	if c.JSON {
		return printJSON(l)
	}
	fmt.Printf("%s is %s to %s: %s.\n", c.Whom, l.Level, c.Owner, oneLine(l.Reason))
	return printSight(l.Sight)
}

type contactOwnersCmd struct {
	Address string `arg:"" help:"Address of the contact."`
}

func (c contactOwnersCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		for after, more := "", true; more; {
			resp, err := p.Contacts.ListOwners(a.ctx, connect.NewRequest(&v1.ListOwnersRequest{Address: c.Address, After: after}))
			if err != nil {
				return err
			}
			for _, o := range resp.Msg.Owners {
				fmt.Println(o)
				after = o
			}
			more = resp.Msg.More
		}
		return nil
	})
}
