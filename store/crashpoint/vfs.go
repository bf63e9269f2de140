//go:build crash_points

package crashpoint

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The shapes of the calls that are watched.
type (
	xOpen     func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	xDelete   func(*libc.TLS, uintptr, uintptr, int32) int32
	xSync     func(*libc.TLS, uintptr, int32) int32
	xWrite    func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	xTruncate func(*libc.TLS, uintptr, int64) int32
	xClose    func(*libc.TLS, uintptr) int32
)

// pointer makes what SQLite, which was translated from C, takes for a pointer to a function.
func pointer[F any](f *F) uintptr { return *(*uintptr)(unsafe.Pointer(f)) }

// function is the way back.
func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ p uintptr }{p})) }

// at is a pointer into the memory that SQLite manages.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// vfs is SQLite's file system with our points in it.
type vfs struct {
	real  sqlite3.Tsqlite3_vfs
	files sync.Map // open file → *file
	keep  []any    // what C memory points at

	mu      sync.Mutex          // guards methods
	methods map[uintptr]uintptr // the real methods of a kind of file → ours

	commits atomic.Int64 // syncs of the log so far
}

// file is an open file.
type file struct {
	name  string // its base name
	dirty bool   // written by this connection since its last sync; one thread uses a connection at a time
}

const vfsName = "crashpoint"

var registered = sync.OnceValue(register)

// VFS is the name of the file system, which it registers.
func VFS() string {
	registered()
	return vfsName
}

func register() *vfs {
	tls := libc.NewTLS()
	v := &vfs{methods: map[uintptr]uintptr{}}
	v.real = *at[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(v.real)))
	ours := at[sqlite3.Tsqlite3_vfs](p)
	*ours = v.real
	name, err := libc.CString(vfsName)
	if err != nil {
		panic(err)
	}
	ours.FzName = name
	open := xOpen(func(tls *libc.TLS, fs, zName, f uintptr, flags int32, out uintptr) int32 {
		rc := function[xOpen](v.real.FxOpen)(tls, fs, zName, f, flags, out)
		if rc != 0 || zName == 0 {
			return rc
		}
		v.files.Store(f, &file{name: filepath.Base(libc.GoString(zName))})
		if methods := at[uintptr](f); *methods != 0 {
			*methods = v.wrap(tls, *methods)
		}
		return rc
	})
	remove := xDelete(func(tls *libc.TLS, fs, zName uintptr, dirSync int32) int32 {
		name := filepath.Base(libc.GoString(zName))
		log := name == "log.db-wal"
		if log {
			Hit("close.delete.before")
		}
		rc := function[xDelete](v.real.FxDelete)(tls, fs, zName, dirSync)
		if rc == 0 {
			recorder().put('d', name, 0, nil)
			if log {
				Hit("close.delete.after")
			}
		}
		return rc
	})
	v.keep = append(v.keep, &open, &remove)
	ours.FxOpen, ours.FxDelete = pointer(&open), pointer(&remove)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, p, 0); rc != 0 {
		panic("crashpoint: registering the file system")
	}
	return v
}

// wrap makes the table of methods that calls us.
func (v *vfs) wrap(tls *libc.TLS, methods uintptr) uintptr {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p, ok := v.methods[methods]; ok {
		return p
	}
	real := *at[sqlite3.Tsqlite3_io_methods](methods)
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(real)))
	ours := at[sqlite3.Tsqlite3_io_methods](p)
	*ours = real
	sync := xSync(func(tls *libc.TLS, f uintptr, flags int32) int32 {
		return v.sync(v.file(f), func() int32 { return function[xSync](real.FxSync)(tls, f, flags) })
	})
	write := xWrite(func(tls *libc.TLS, f, data uintptr, n int32, offset int64) int32 {
		x := v.file(f)
		x.dirty = true
		before, after := writePoints(x.name, offset)
		Hit(before)
		rc := function[xWrite](real.FxWrite)(tls, f, data, n, offset)
		if rc == 0 {
			recorder().put('w', x.name, offset, unsafe.Slice(at[byte](data), n))
			Hit(after)
		}
		return rc
	})
	truncate := xTruncate(func(tls *libc.TLS, f uintptr, size int64) int32 {
		x := v.file(f)
		if x.name == "log.db-wal" {
			Hit("truncate.before")
		}
		rc := function[xTruncate](real.FxTruncate)(tls, f, size)
		if rc == 0 {
			recorder().put('t', x.name, size, nil)
			if x.name == "log.db-wal" {
				Hit("truncate.after")
			}
		}
		return rc
	})
	shut := xClose(func(tls *libc.TLS, f uintptr) int32 {
		v.files.Delete(f)
		return function[xClose](real.FxClose)(tls, f)
	})
	v.keep = append(v.keep, &sync, &write, &truncate, &shut)
	ours.FxSync, ours.FxWrite, ours.FxTruncate, ours.FxClose = pointer(&sync), pointer(&write), pointer(&truncate), pointer(&shut)
	v.methods[methods] = p
	return p
}

func (v *vfs) file(f uintptr) *file {
	if x, ok := v.files.Load(f); ok {
		return x.(*file)
	}
	return &file{}
}

// writePoints are around a write: to the database file, which only a checkpoint writes, and to the head of the WAL, with which
// the log begins the WAL anew.
func writePoints(name string, offset int64) (before, after string) {
	switch {
	case name == "log.db":
		return "checkpoint.page.before", "checkpoint.page.after"
	case name == "log.db-wal" && offset == 0:
		return "wal.restart.before", "wal.restart.after"
	case name == "state.db":
		return "state.page.before", "state.page.after"
	}
	return "-", "-"
}

// syncPoint is the stem of the points around a sync. A WAL that this connection has not written is synced by a checkpoint.
func syncPoint(x *file) string {
	switch {
	case x.name == "log.db":
		return "checkpoint.dbsync"
	case x.name == "log.db-wal" && x.dirty:
		return "commit.sync"
	case x.name == "log.db-wal":
		return "checkpoint.walsync"
	case x.name == "state.db-wal":
		return "state.sync"
	case x.name == "state.db":
		return "state.dbsync"
	}
	return "-"
}

func (v *vfs) sync(x *file, real func() int32) int32 {
	stem := syncPoint(x)
	x.dirty = false
	Hit(stem + ".before")
	if stem == "commit.sync" {
		if rc := v.fault(); rc != 0 {
			return rc
		}
	}
	n := recorder().syncing(x.name)
	rc := real()
	if rc == 0 {
		recorder().put('S', x.name, n, nil)
		Hit(stem + ".after")
	}
	return rc
}

// faultAt is the sync of the log, counted from the start of the process, at which the one fault happens.
const faultAt = 40

// fault is for points that nothing leads to on a healthy disk: a sync fails, after which the WAL is truncated, or takes longer
// than the senders wait, so that records land which were refused.
func (v *vfs) fault() int32 {
	if v.commits.Add(1) != faultAt {
		return 0
	}
	switch armed().name {
	case "truncate.before", "truncate.after":
		return sqlite3.SQLITE_IOERR_FSYNC
	case "late.noted", "void.before", "void.after":
		time.Sleep(1200 * time.Millisecond)
	}
	return 0
}
