// Command clients proves Parley with real programs: baresip, liblinphone, libpurple, SIPp, and, in Chromium, JsSIP and
// Parley's own web client. It builds and starts a server, signs every client in over every transport that it speaks,
// lets them write to each other, send files, miss messages, come back, watch and call each other, asks the archive for
// every message, and prints one table.
//
//	go run ./test/clients            # what "make clients" does
//	go run ./test/clients -list      # what is needed, and whether it is there
//	go run ./test/clients -keep      # keep the folder with every log
//
// It ends with 1 when a row fails and with 2 when a program is missing. Everything runs on loopback, in one temporary
// folder, and is stopped by its process group when the run ends, however it ends.
//
// With -against the same clients are driven against a server that already runs, which shows that a row fails because
// of Parley and not because of a driver. The rows that need Parley itself (its page, archive, restart) are then left out.
package main
