package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

type archiveFileCmd struct {
	Record string `arg:"" placeholder:"RECORD" help:"Id of the message's record, as archive search shows it."`
	Output string `short:"o" placeholder:"FILE" help:"Where to write the file, which must not exist yet; without it, standard output."`
}

func (c archiveFileCmd) Run(a *app) error {
	if c.Output == "" && terminal(os.Stdout) {
		return errs.New(errs.Invalid, "a file does not belong on a terminal; write it with -o FILE, or > FILE")
	}
	return a.administer(func(p *parley.Client) error {
		if c.Output == "" {
			_, err := fetch(a, p, c.Record, os.Stdout)
			return err
		}
		info, err := fetchTo(a, p, c.Record, c.Output)
		if err == nil {
			fmt.Fprintf(os.Stderr, "%s (%d bytes, sent as %q) written to %s\n", info.Sha256, info.Size, info.Name, c.Output)
		}
		return err
	})
}

// terminal tells whether somebody would read what is written to f.
func terminal(f *os.File) bool {
	to, err := f.Stat()
	if err != nil || to.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	nothing, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(to, nothing)
}

// fetch writes the file in a message, and returns what is known of it. What was written before an error must not be used.
func fetch(a *app, p *parley.Client, record string, w io.Writer) (*v1.FetchFileResponse, error) {
	stream, err := p.Archive.FetchFile(a.ctx, connect.NewRequest(&v1.FetchFileRequest{Record: record}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var info *v1.FetchFileResponse
	for stream.Receive() {
		if info == nil {
			info = stream.Msg()
			continue
		}
		if _, err := w.Write(stream.Msg().Chunk); err != nil {
			return nil, err
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	if info == nil {
		return nil, errs.New(errs.Internal, "the server sent nothing of the file")
	}
	return info, nil
}

// fetchTo is fetch into a new file, which is there whole or not at all.
func fetchTo(a *app, p *parley.Client, record, path string) (*v1.FetchFileResponse, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, exists(path)
	}
	part, err := os.CreateTemp(filepath.Dir(path), ".parley-file-*")
	if err != nil {
		return nil, fileError("cannot write the file: making", err)
	}
	defer os.Remove(part.Name())
	info, err := fetch(a, p, record, part)
	if err == nil {
		err = part.Sync()
	}
	if closed := part.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	return info, putNew(part.Name(), path)
}
