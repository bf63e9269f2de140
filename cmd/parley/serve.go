package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/parley-im/parley/config"
	"github.com/parley-im/parley/server"
)

type serveCmd struct{}

func (serveCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	s, err := server.New(a.ctx, cfg, logger(cfg.Log))
	if a.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // Ctrl-C while it starts
	}
	if err != nil {
		return err
	}
	go tendHeap(a.ctx) // ends with the process
	return s.Serve(a.ctx)
}

type versionCmd struct{}

func (versionCmd) Run(*app) error {
	fmt.Println("parley", server.Version())
	return nil
}

type configCmd struct {
	Check    configCheckCmd    `cmd:"" help:"Say what is wrong with the file, or that it is right."`
	Describe configDescribeCmd `cmd:"" help:"Print every key with its default and meaning."`
}

type configCheckCmd struct{}

func (configCheckCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	name := a.path
	if name == "" {
		name = "the default configuration"
	}
	missing := ""
	if server.FolderMissing(cfg.Data) {
		missing = " (does not exist yet, will be made)"
	}
	fmt.Printf("%s is right: data in %s%s, domains %s\n", name, cfg.Data, missing, strings.Join(cfg.Domains, ", "))
	return nil
}

type configDescribeCmd struct{}

func (configDescribeCmd) Run(*app) error {
	_, err := os.Stdout.WriteString(config.Describe())
	return err
}
