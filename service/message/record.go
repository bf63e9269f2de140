//go:build !crash_late && !relayonly

package message

// Recording is true: there is no setting that could change it. Only builds for measuring and for test/crash have others.
const Recording = true

// recordFirst is the store as it is: what Append has not recorded yet is neither delivered nor acknowledged. Only a build for
// test/crash, which shows that a server that does so loses messages, has another one.
func recordFirst(s Store) Store { return s }
