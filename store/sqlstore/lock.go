//go:build unix

package sqlstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/store"
)

// folderLock keeps a second server out of a data folder. The kernel drops the lock with the process, so a crash leaves
// nothing to clean up; the file itself stays.
type folderLock struct{ f *os.File }

// lockPatience is how long a lock that is held is waited for.
const lockPatience = time.Second

// lockFolder takes the lock of dir or says who has it.
func lockFolder(dir string) (*folderLock, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: locking the data folder: %w", err)
	}
	// A server that has just ended, or a program that is being started at this moment and has the file open until it
	// runs, keeps the lock a little longer.
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for end := time.Now().Add(lockPatience); errors.Is(err, syscall.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(lockPatience / 20)
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("sqlstore: locking %s: %w", name, err)
		}
		who := "another process"
		var text [32]byte
		n, _ := f.ReadAt(text[:], 0)
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(text[:n]))); err == nil {
			who = fmt.Sprintf("the process with pid %d", pid)
		}
		err = fmt.Errorf("%w: %s is held by %s; stop that server first, or give this one another folder (data = …)",
			store.ErrInUse, dir, who)
		return nil, errs.Wrap(errs.Conflict, err, "sqlstore")
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("sqlstore: writing %s: %w", name, err)
	}
	return &folderLock{f}, nil
}

// Close gives the folder free.
func (l *folderLock) Close() error { return l.f.Close() }
