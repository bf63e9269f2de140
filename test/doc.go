// Package test starts whole servers and plays user agents against them: real sockets, the real store, our own client.
// What it exports is for the tests of this folder and those below it.
package test
