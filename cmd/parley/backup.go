package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/server"
)

type backupCmd struct {
	File string `arg:"" placeholder:"FILE" help:"Where to write the copy (a tar file); - for standard output. It holds the key: keep it as safe as the server."`
}

func (c backupCmd) Run(a *app) error {
	return a.administer(func(p *parley.Client) error {
		stream, err := p.Status.Backup(a.ctx, connect.NewRequest(&v1.BackupRequest{}))
		if err != nil {
			return err
		}
		defer stream.Close()
		if c.File == "-" {
			return receive(stream, os.Stdout)
		}
		if err := c.toFile(stream); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "backup written to", c.File)
		return nil
	})
}

// toFile writes beside the goal and renames, so that a backup is there whole or not at all.
func (c backupCmd) toFile(stream *connect.ServerStreamForClient[v1.BackupResponse]) error {
	f, err := os.CreateTemp(filepath.Dir(c.File), ".parley-backup-*")
	if err != nil {
		return fileError("cannot write the backup: making", err)
	}
	defer os.Remove(f.Name())
	err = receive(stream, f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), c.File); err != nil {
		return errs.New(errs.KindOf(err), "cannot write the backup to %s: %w", c.File, errors.Unwrap(err))
	}
	return nil
}

func receive(stream *connect.ServerStreamForClient[v1.BackupResponse], w io.Writer) error {
	for stream.Receive() {
		if _, err := w.Write(stream.Msg().Chunk); err != nil {
			return err
		}
	}
	return stream.Err()
}

type restoreCmd struct {
	File string `arg:"" placeholder:"FILE" help:"A backup; - for standard input."`
}

func (c restoreCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	in := os.Stdin
	if c.File != "-" {
		if in, err = os.Open(c.File); err != nil {
			return fileError("cannot read the backup", err)
		}
		defer in.Close()
	}
	if err := server.Restore(a.ctx, cfg, in); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "restored into", cfg.Data)
	return nil
}
