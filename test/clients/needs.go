package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// need is something that must be on the machine.
type need struct {
	what string // as people call it
	from string // where it comes from
	test func(root string) error
}

// aptPackages gives all of it on Debian 12, but for Node and what npm brings.
const aptPackages = "baresip-core liblinphone-dev libpurple-dev libpurple0 sip-tester gcc pkg-config libc6-dev chromium"

func needs() []need {
	program := func(name string) func(string) error {
		return func(string) error { _, err := exec.LookPath(name); return err }
	}
	file := func(path string) func(string) error {
		return func(root string) error {
			if !filepath.IsAbs(path) {
				path = filepath.Join(root, path)
			}
			_, err := os.Stat(path)
			return err
		}
	}
	return []need{
		{"a C compiler", "apt-get install gcc libc6-dev", program(compiler())},
		{"pkg-config", "apt-get install pkg-config", program("pkg-config")},
		{"baresip", "apt-get install baresip-core", program("baresip")},
		{"baresip's sndfile module", "apt-get install baresip-core", file("/usr/lib/baresip/modules/sndfile.so")},
		{"liblinphone", "apt-get install liblinphone-dev", file("/usr/include/linphone/core.h")},
		{"libpurple", "apt-get install libpurple-dev", func(string) error { return exec.Command("pkg-config", "--exists", "purple").Run() }},
		{"libpurple's SIMPLE", "apt-get install libpurple0", simplePlugin},
		{"SIPp", "apt-get install sip-tester", program("sipp")},
		{"Chromium", "apt-get install chromium", program(chromium())},
		{"Node 20 or later", "nodejs.org", func(string) error { return nodeVersion(20) }},
		{"JsSIP", "npm ci --prefix test/clients", file("test/clients/node_modules/jssip/package.json")},
		{"playwright-core", "npm ci --prefix test/clients", file("test/clients/node_modules/playwright-core/package.json")},
	}
}

// missing describes what is not there, one line each.
func missing(root string) []string {
	var lines []string
	for _, n := range needs() {
		if err := n.test(root); err != nil {
			lines = append(lines, fmt.Sprintf("%s (%s): %v", n.what, n.from, err))
		}
	}
	return lines
}

// simplePlugin looks for libpurple's SIMPLE where libpurple looks for it.
func simplePlugin(string) error {
	folder, err := exec.Command("pkg-config", "--variable=plugindir", "purple").Output()
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(strings.TrimSpace(string(folder)), "libsimple.so"))
	return err
}

func nodeVersion(least int) error {
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(text, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < least {
		return fmt.Errorf("node is %s", text)
	}
	return nil
}

func chromium() string {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	return "chromium"
}
