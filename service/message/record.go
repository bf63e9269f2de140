//go:build !crash_late

package message

// recordFirst is the store as it is: what Append has not recorded yet is neither delivered nor acknowledged. Only a build for
// test/crash, which shows that a server that does so loses messages, has another one.
func recordFirst(s Store) Store { return s }
