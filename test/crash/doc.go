// Command crash proves that nothing which Parley acknowledged or delivered is ever missing from the record. It builds the
// server, starts it on a folder and ports of its own, lets clients of its own write to each other over UDP, TCP, TLS and
// WebSocket, breaks things meanwhile, and then compares four files: what was sent, what was acknowledged, what was received,
// and what the archive holds.
//
//	go run ./test/crash                        # 30 rounds of kill -9
//	go run ./test/crash -fault list            # what else can be broken
//	go run ./test/crash -fault lock,full,stop  # one after the other, -rounds of each
//	go run ./test/crash -fault replay -points 1 # power loss at every single write and sync
//	go run ./test/crash -check FOLDER          # judge the four files of an earlier run again
//	test/crash/run short                       # some of everything, in less than two minutes
//	make crash                                 # all of it, with a table
//
// What must hold is in check.go, with a table that shows that each check can fail. Two builds of the server that no release
// contains show it with the real thing: -control late delivers and acknowledges before it records, -control nosync does not
// sync the log; the run ends with 0 then only if loss was found. A third build, with the tag crash_points, kills itself at named
// points, and records what it writes (package store/crashpoint); a fourth has a wall clock that can be moved. What is shipped
// has none of this: TestNothingOfItInARelease.
//
// It ends with 1 when something is lost and with 2 when it could not do its work. A fault that this machine cannot
// have (no strace, no right to mount, no PostgreSQL) is left out in words.
package main
