// Command parley is the server and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
)

// cli is the grammar of the command line.
type cli struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file; without it the defaults hold, with data in ./parley-data."`

	Demo    demoCmd    `cmd:"" help:"Try it: a complete server in a temporary folder with three users. Prints what to type into a SIP client."`
	Serve   serveCmd   `cmd:"" help:"Run the server until Ctrl-C."`
	User    userCmd    `cmd:"" help:"Add, change and list users."`
	Device  deviceCmd  `cmd:"" help:"Passwords for single devices, which can be revoked one by one."`
	Archive archiveCmd `cmd:"" help:"Search what was recorded."`
	Backup  backupCmd  `cmd:"" help:"Write a consistent copy of the data folder, the key included, while the server runs or not."`
	Restore restoreCmd `cmd:"" help:"Fill an empty data folder from a backup."`
	Conf    configCmd  `cmd:"" name:"config" help:"Check a configuration file, or describe every key."`
	Status  statusCmd  `cmd:"" help:"Tell how the running server is."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// app is what commands get.
type app struct {
	ctx  context.Context
	path string // of the configuration file, "" for none
	log  *slog.Logger
}

// load reads the configuration.
func (a *app) load() (*config.Config, error) {
	return config.Load(a.path)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser := kong.Must(&c, kong.Name("parley"), kong.UsageOnError(),
		kong.Description("A self-hosted server for messages and calls over SIP that records before it delivers."))
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	parser.FatalIfErrorf(err)
	err = k.Run(&app{ctx: ctx, path: c.Config, log: logger("info")})
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	fmt.Fprintln(os.Stderr, "parley: "+explain(err))
	os.Exit(1)
}

// explain is an error in words for the person at the terminal.
func explain(err error) string {
	text := parley.Reason(err)
	for _, prefix := range []string{"server: ", "directory: ", "config: ", "archive: ", "auth: ", "store: ", "sqlstore: ", "transport: ", "api: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// logger writes to standard error, so that output can be piped.
func logger(level string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
}
