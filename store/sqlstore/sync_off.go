//go:build crash_nosync

package sqlstore

// logSync does not sync the log: a negative control of test/crash, never for anything else.
const logSync = "synchronous(OFF)"
