package sqlstore

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// faults is a virtual file system of SQLite: the real one, on whose calls a test may have another opinion. What is below it
// is the real engine with real files.
type faults struct {
	name string
	real sqlite3.Tsqlite3_vfs

	mu     sync.Mutex
	before func(op, file string) int32 // returns a result code to fail with, 0 to go on; may block
	after  func(op, file string) int32 // the call was made; replaces its result unless 0
	trace  []string                    // "sync log.db-wal", "truncate log.db-wal" … since the last take

	methods map[uintptr]uintptr // the real methods of a kind of file → ours
	keep    []any               // what C memory points at
}

var (
	vfsCount atomic.Int64
	vfsAlive sync.Map   // every faults there was: the collector does not see what SQLite points at
	vfsList  sync.Mutex // registering links the file systems to each other, the one that is copied among them
)

// The shapes of the calls that are watched.
type (
	xOpen     func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
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

// newFaults registers a file system for one test.
func newFaults(t testing.TB) *faults {
	t.Helper()
	tls := libc.NewTLS()
	f := &faults{name: fmt.Sprintf("faults%d", vfsCount.Add(1)), methods: make(map[uintptr]uintptr)}
	vfsAlive.Store(f.name, f)
	vfsList.Lock()
	defer vfsList.Unlock()
	original := sqlite3.Xsqlite3_vfs_find(tls, 0)
	f.real = *at[sqlite3.Tsqlite3_vfs](original)
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(f.real)))
	ours := at[sqlite3.Tsqlite3_vfs](p)
	*ours = f.real
	name, err := libc.CString(f.name)
	if err != nil {
		t.Fatal(err)
	}
	ours.FzName = name
	var names sync.Map // open file → its base name
	open := xOpen(func(tls *libc.TLS, vfs, zName, file uintptr, flags int32, out uintptr) int32 {
		rc := function[xOpen](f.real.FxOpen)(tls, vfs, zName, file, flags, out)
		if rc != 0 || zName == 0 {
			return rc
		}
		names.Store(file, filepath.Base(libc.GoString(zName)))
		methods := at[uintptr](file)
		if *methods != 0 {
			*methods = f.wrap(tls, *methods, &names)
		}
		return rc
	})
	f.keep = append(f.keep, &open)
	ours.FxOpen = pointer(&open)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, p, 0); rc != 0 {
		t.Fatal("registering the file system:", rc)
	}
	return f
}

// wrap makes the table of methods that reports to f.
func (f *faults) wrap(tls *libc.TLS, methods uintptr, names *sync.Map) uintptr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p, ok := f.methods[methods]; ok {
		return p
	}
	real := *at[sqlite3.Tsqlite3_io_methods](methods)
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(real)))
	ours := at[sqlite3.Tsqlite3_io_methods](p)
	*ours = real
	call := func(op string, file uintptr, fn func() int32) int32 {
		v, _ := names.Load(file)
		name, _ := v.(string)
		f.mu.Lock()
		before, after := f.before, f.after
		f.mu.Unlock()
		if before != nil {
			if rc := before(op, name); rc != 0 {
				f.note(op + " " + name + " failed")
				return rc
			}
		}
		rc := fn()
		if after != nil {
			if r := after(op, name); r != 0 {
				f.note(op + " " + name + " failed")
				return r
			}
		}
		if op != "write" {
			f.note(op + " " + name)
		}
		return rc
	}
	sync := xSync(func(tls *libc.TLS, file uintptr, flags int32) int32 {
		return call("sync", file, func() int32 { return function[xSync](real.FxSync)(tls, file, flags) })
	})
	write := xWrite(func(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
		return call("write", file, func() int32 { return function[xWrite](real.FxWrite)(tls, file, data, n, offset) })
	})
	truncate := xTruncate(func(tls *libc.TLS, file uintptr, size int64) int32 {
		return call("truncate", file, func() int32 { return function[xTruncate](real.FxTruncate)(tls, file, size) })
	})
	shut := xClose(func(tls *libc.TLS, file uintptr) int32 {
		names.Delete(file)
		return function[xClose](real.FxClose)(tls, file)
	})
	f.keep = append(f.keep, &sync, &write, &truncate, &shut)
	ours.FxSync, ours.FxWrite, ours.FxTruncate, ours.FxClose = pointer(&sync), pointer(&write), pointer(&truncate), pointer(&shut)
	f.methods[methods] = p
	return p
}

func (f *faults) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trace = append(f.trace, what)
}

// take returns what happened to files of the log since the last call.
func (f *faults) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, s := range f.trace {
		if strings.Contains(s, " log.db") {
			list = append(list, s)
		}
	}
	f.trace = nil
	return strings.Join(list, ", ")
}

// set installs opinions; nil for none.
func (f *faults) set(before, after func(op, file string) int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// fail fails the next n calls of op on file with a code.
func fail(op, file string, n int64, code int32) func(string, string) int32 {
	var left atomic.Int64
	left.Store(n)
	return func(o, f string) int32 {
		if o == op && f == file && left.Add(-1) >= 0 {
			return code
		}
		return 0
	}
}
