// Command parley is the server and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"connectrpc.com/connect"
	"github.com/alecthomas/kong"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
)

// cli is the grammar of the command line.
type cli struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file; without it the defaults hold, with data in ./parley-data."`

	Demo     demoCmd     `cmd:"" help:"Try it: a complete server in a temporary folder with three users. Prints an address to open, and what to type into a SIP client."`
	Serve    serveCmd    `cmd:"" help:"Run the server until Ctrl-C."`
	User     userCmd     `cmd:"" help:"Add, change and list users."`
	Contact  contactCmd  `cmd:"" help:"The lists of contacts of users, and who sees what of whom."`
	Presence presenceCmd `cmd:"" help:"Who is there, on what, and who sees what of it."`
	Device   deviceCmd   `cmd:"" help:"Passwords for single devices, which can be revoked one by one."`
	Session  sessionCmd  `cmd:"" help:"Who has signed in in a browser or a program; end that."`
	Archive  archiveCmd  `cmd:"" help:"Search what was recorded."`
	Backup   backupCmd   `cmd:"" help:"Write a consistent copy of the data folder, the key included, while the server runs or not."`
	Restore  restoreCmd  `cmd:"" help:"Fill an empty data folder from a backup."`
	Conf     configCmd   `cmd:"" name:"config" help:"Check a configuration file, or describe every key."`
	Status   statusCmd   `cmd:"" help:"Tell how the running server is."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// app is what commands get.
type app struct {
	ctx  context.Context
	path string // of the configuration file, "" for none
}

// load reads the configuration.
func (a *app) load() (*config.Config, error) {
	return config.Load(a.path)
}

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell has it for Ctrl-C
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	var c cli
	parser := kong.Must(&c, kong.Name("parley"), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Description("A self-hosted server for messages and calls over SIP that records before it delivers."))
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "parley: %s\nTry: parley %s--help\n", err, command(err))
		os.Exit(exitUsage)
	}
	err = k.Run(&app{ctx: ctx, path: c.Config})
	switch {
	case err == nil:
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || connect.CodeOf(err) == connect.CodeCanceled):
		os.Exit(exitInterrupted)
	default:
		fmt.Fprintln(os.Stderr, "parley: "+explain(err))
		os.Exit(exitFailed)
	}
}

// command is the command that a mistake is in, with a space behind it; "" when there is none.
func command(err error) string {
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context.Command() != "" {
		var words []string
		for _, w := range strings.Fields(p.Context.Command()) {
			if !strings.HasPrefix(w, "<") {
				words = append(words, w)
			}
		}
		return strings.Join(words, " ") + " "
	}
	return ""
}

// prefixes are the names of packages in front of an error's text.
var prefixes = regexp.MustCompile(`(?m)^(?:(?:api|archive|auth|bus|config|contact|directory|people|presence|server|sqlstore|store|transport): )+`)

// explain is an error in words for the person at the terminal.
func explain(err error) string {
	if connected, ok := errors.AsType[*connect.Error](err); ok {
		return parley.Reason(connected)
	}
	if reason := errs.Reason(err); reason != errs.Reason(errs.KindOf(err)) {
		return reason // somebody chose words for people
	}
	return prefixes.ReplaceAllString(err.Error(), "")
}

// fileError says in plain words what is wrong with a file that was named on the command line.
func fileError(doing string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return errs.New(errs.KindOf(err), "%s %s: %w", doing, p.Path, p.Err)
	}
	return errs.Wrap(errs.KindOf(err), err, doing)
}

// logger writes to standard error, so that output can be piped.
func logger(level string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
}
