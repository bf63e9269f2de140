//go:build !crash_points

// Package crashpoint marks the places in the store at which test/crash wants a process to die. In every build but the
// one with the tag crash_points, which is for test/crash alone, it is empty: its functions do nothing and are compiled to
// nothing.
package crashpoint

// Hit is a place at which the process may be killed.
func Hit(string) {}

// VFS is the name of SQLite's file system to use, "" for its own.
func VFS() string { return "" }

// Every is the number of bytes between two checkpoints, where bytes are wanted.
func Every(bytes int64) int64 { return bytes }

// Wrote tells of a write to a file in the data folder that does not go through SQLite.
func Wrote(string, int64, []byte) {}
