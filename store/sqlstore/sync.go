//go:build !crash_nosync

package sqlstore

// logSync makes each commit of the log wait until it is on the disk. There is no other setting: only a build for test/crash,
// which shows that a server without it loses messages, has another value.
const logSync = "synchronous(FULL)"
