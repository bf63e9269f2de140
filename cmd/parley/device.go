package main

import (
	"fmt"
	"os"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

type deviceCmd struct {
	Add    deviceAddCmd    `cmd:"" help:"Make a password for one device of a user and print it."`
	Revoke deviceRevokeCmd `cmd:"" help:"End the password of one device."`
}

type deviceAddCmd struct {
	User  string `arg:"" placeholder:"USER@DOMAIN"`
	Name  string `arg:"" optional:"" placeholder:"LABEL" help:"As --label."`
	Label string `help:"What the device is, for people: \"desk phone\"."`
}

func (c deviceAddCmd) Run(a *app) error {
	if c.Name != "" && c.Label != "" {
		return errs.New(errs.Invalid, "give one label, behind the user or with --label")
	}
	c.Label += c.Name
	return a.administer(func(p *parley.Client) error {
		resp, err := p.Users.AddDevicePassword(a.ctx, connect.NewRequest(&v1.AddDevicePasswordRequest{Address: c.User, Label: c.Label}))
		if err != nil {
			return err
		}
		fmt.Printf("device %s password: %s\n", resp.Msg.DevicePassword.Id, resp.Msg.Password)
		fmt.Fprintf(os.Stderr, "Type into the device:\n  user        %s\n  domain      %s\n  password    as above\n", resp.Msg.User, resp.Msg.Domain)
		if resp.Msg.Proxy != "" {
			fmt.Fprintf(os.Stderr, "  proxy       %s\n", resp.Msg.Proxy)
		}
		return nil
	})
}

type deviceRevokeCmd struct {
	User string `arg:"" placeholder:"USER@DOMAIN"`
	ID   string `arg:"" placeholder:"ID" help:"As user show lists it."`
}

func (c deviceRevokeCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		_, err := p.Users.RevokeDevicePassword(a.ctx, connect.NewRequest(&v1.RevokeDevicePasswordRequest{Address: c.User, Id: c.ID}))
		return err
	})
}
