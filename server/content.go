package server

import (
	"context"
	"os"
	"path/filepath"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/blobs"
)

// contentOf opens what is in the files of a data folder, also when no new ones are taken, and makes no folder for them.
func contentOf(data string) func(context.Context, store.BlobHash) (store.Blob, error) {
	return func(ctx context.Context, h store.BlobHash) (store.Blob, error) {
		folder := filepath.Join(data, filesFolder)
		if _, err := os.Stat(folder); err != nil {
			return nil, errs.Wrap(errs.KindOf(err), err, "server: opening the folder for files")
		}
		content, err := blobs.Open(folder)
		if err != nil {
			return nil, err
		}
		return content.Open(ctx, h)
	}
}
