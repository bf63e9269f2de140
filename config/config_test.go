package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parley-im/parley/base/errs"
)

var update = flag.Bool("update", false, "write docs/config.md")

func TestEmptyIsDefault(t *testing.T) {
	got, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Domains = []string{machine()}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Every default is inside the limits that its check states, also on a machine with a strange name.
func TestEveryKeyIsRead(t *testing.T) {
	for _, f := range fields(Default()) {
		if f.value.Kind() == reflect.Map || strings.Contains(f.key, "…") {
			continue
		}
		section, key, ok := strings.Cut(f.key, ".")
		text := "[" + section + "]\n" + key
		if !ok {
			text = f.key
		}
		// A table is the wrong type for every key: the key must be known, and its type named.
		_, err := Parse("x.toml", []byte(text+" = {}"))
		if err == nil || !strings.Contains(err.Error(), f.key+" must be a ") {
			t.Errorf("%s: %v", f.key, err)
		}
	}
}

func TestFull(t *testing.T) {
	t.Setenv("PARLEY_TEST_URL", "postgres://u:p@127.0.0.1/db")
	c, err := Parse("x.toml", []byte(`
data = "/var/lib/parley"
domains = ["Example.COM.", "example.org"]
[sip]
udp = []
tcp = ["[::]:5060", "0.0.0.0:5060"]
digest = ["SHA-256", "MD5"]
[sip.listener."tcp:0.0.0.0:5060"]
digest = ["MD5"]
legacy_digest = false
[sip.listener."wss:0.0.0.0:8443"]
digest = ["SHA-256"]
[store]
url = "env:PARLEY_TEST_URL"
[register]
max_expires = "2h"
[http]
proxies = ["127.0.0.1", "2001:db8::/32"]
`))
	if err != nil {
		t.Fatal(err)
	}
	if !c.IsDomain("EXAMPLE.com") || c.IsDomain("example.net") || c.Domains[0] != "example.com" {
		t.Errorf("domains %v", c.Domains)
	}
	if c.Store.URL != "postgres://u:p@127.0.0.1/db" || c.Register.MaxExpires != 2*time.Hour || len(c.SIP.UDP) != 0 {
		t.Errorf("%+v", c)
	}
	if p := c.HTTP.TrustedProxies(); fmt.Sprint(p) != "[127.0.0.1/32 2001:db8::/32]" {
		t.Error(p)
	}
	for listener, want := range map[string]struct {
		digest []string
		legacy bool
	}{
		"tcp:0.0.0.0:5060": {[]string{"MD5"}, false},
		"tcp:[::]:5060":    {[]string{"SHA-256", "MD5"}, true},
		"wss:0.0.0.0:8443": {[]string{"SHA-256"}, true},
	} {
		digest, legacy := c.SIP.DigestFor(listener)
		if !slices.Equal(digest, want.digest) || legacy != want.legacy {
			t.Errorf("%s: %v %v", listener, digest, legacy)
		}
	}
}

// Each mistake is told with its place and with what to write instead.
func TestMistakes(t *testing.T) {
	cases := []struct{ text, want string }{
		{"\n[sip]\nudpp = []", `line 3: there is no key "sip.udpp", did you mean "sip.udp"?`},
		{"udp = []", `line 1: there is no key "udp", did you mean "sip.udp"?`},
		{"[qwertyuiop]\na = 1", `line 1: there is no key "qwertyuiop"; ` + "`parley config describe` lists"},
		{"[sip.listener.\"tcp:0.0.0.0:5060\"]\n\ndigets = []", `line 3: there is no key "sip.listener.\"tcp:0.0.0.0:5060\".digets"`},
		{"x = ", "line 1: "},
		{"[sip]\nudp = \"a\"", "line 2: sip.udp must be a list of strings such as"},
		{"[limits]\nbody = \"64k\"", "line 2: limits.body must be a whole number"},
		{`data = ""`, "data is empty"},
		{`domains = ["a:5060"]`, "without port"},
		{`domains = ["127.0.0.1"]`, "is not a domain"},
		{`domains = ["a.b", "A.b"]`, "listed twice"},
		{`log = "loud"`, "is no level"},
		{"[sip]\ntcp = [\"localhost:5060\"]", `sip.tcp: "localhost:5060" is not an address with port`},
		{"[sip]\ntcp = [\"0.0.0.0:5060\", \"0.0.0.0:5060\"]", "listed twice"},
		{"[sip]\ntls = [\"0.0.0.0:5060\"]", "give TLS its own port"},
		{"[sip]\ndigest = []", "nobody could sign in"},
		{"[sip]\ndigest = [\"SHA-512\"]", `write "MD5" or "SHA-256"`},
		{"[sip]\ndigest = [\"MD5\", \"MD5\"]", "listed twice"},
		{"[sip]\nmethods = [\"PING\"]", `"PING" is not known here`},
		{"[sip]\ninfo_types = [\"text/plain\"]", "can carry text"},
		{"[sip]\ninfo_types = [\"Application/dtmf; x=y\"]", "is not a media type"},
		{"[sip]\nadvertise = \"a:5060\"", "neither a host name"},
		{"[sip]\ncertificate = \"\"", "sip.certificate is empty"},
		{"[sip]\nkey = \"k.pem\"", "would not be used"},
		{"[sip.listener.\"tcp:1.2.3.4:5060\"]", `there is no listener "tcp:1.2.3.4:5060"; listeners are tcp:0.0.0.0:5060 tls:`},
		{"[sip.listener.\"tcp:0.0.0.0:5060\"]\ndigest = [\"X\"]", "not supported"},
		{"[http]\nlisten = \"8443\"", "http.listen"},
		{"[files]\nmax_size = -1", "files.max_size"},
		{"[files]\nkeep = \"10m\"", "files.keep"},
		{"[files]\ntypes = [\"*\"]", "is no type of files"},
		{"[files]\ntypes = [\"Image/png\"]", "is no type of files"},
		{"[files]\ntypes = [\"ima*/png\"]", "is no type of files"},
		{"[files]\nurl = \"chat.example.com\"", "is no address of this server"},
		{"[files]\nurl = \"https://chat.example.com/files\"", "is no address of this server"},
		{"[http]\norigins = [\"chat.example.com\"]", "is not an origin"},
		{"[http]\nproxies = [\"0.0.0.0/0\"]", "is everybody"},
		{"[http]\nproxies = [\"127.0.0.1\", \"::/0\"]", `"::/0" is everybody`},
		{"[http]\nproxies = [\"proxy.example.com\"]", `"proxy.example.com" is no address and no network`},
		{"[http]\nproxies = [\"10.1.2.3:80\"]", "is no address and no network"},
		{"[http]\nproxies = [\"10.1.2.0/33\"]", "is no address and no network"},
		{"[http]\nproxies = [\"\"]", "is no address and no network"},
		{"[http]\nproxies = [\"10.1.2.3/24\"]", `write "10.1.2.0/24" for that network, or "10.1.2.3"`},
		{"[http]\nproxies = [\"fe80::1%eth0\"]", "has a zone"},
		{"[http]\nproxies = [\"::ffff:10.0.0.1\"]", "is IPv4 in IPv6"},
		{"[http]\nproxies = \"10.0.0.1\"", "http.proxies must be a list of strings"},
		{"[metrics]\nlisten = \"0.0.0.0:8443\"", "give one of them another port"},
		{"[store]\nurl = \"mysql://secret\"", "store.url is not the address of a database"},
		{"[store]\nurl = \"env:PARLEY_NOT_SET\"", "PARLEY_NOT_SET is not set"},
		{"[store]\nurl = \"file:/nowhere/at/all\"", "cannot read the secret"},
		{"[limits]\nbody = 5", "limits.body is 5: write a number from 1024 to 16777216"},
		{"[limits]\nline = 20000", "raise header_bytes or lower line"},
		{"[message]\nwindow = \"1h\"", "message.window is 1h: write a time from 24h to 168h"},
		{"[register]\nmax_expires = 3600", "register.max_expires is 3.6µs: write a time from 1s to 720h, in quotes with its unit"},
		{"[register]\nmax_expires = \"30m\"", "must not fall"},
		{"[register]\nbindings = 0", "register.bindings is 0"},
		{"[call]\nring_timeout = \"180s\"", "call.ring_timeout is 3m"},
		{"[call]\nmin_se = \"60s\"", "call.min_se"},
	}
	for _, c := range cases {
		_, err := Parse("parley.toml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "config: parley.toml: ") {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
		if err != nil && (errs.KindOf(err) != errs.Invalid || strings.Contains(err.Error(), "secret@")) {
			t.Errorf("%q: kind %v", c.text, errs.KindOf(err))
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Parse("x", []byte("log = \"x\"\n[limits]\nbody = 1\nvias = 0"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("%v", err)
	}
	_, err = Parse("x", []byte("[sip]\na1 = 1\nb2 = 2"))
	if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v", err)
	}
}

func TestFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("url.secret", "postgres://u:p@db/parley\n")
	c, err := Load(write("parley.toml", "[store]\nurl = \"file:url.secret\""))
	if err != nil || c.Store.URL != "postgres://u:p@db/parley" {
		t.Errorf("%v %v", c, err)
	}
	_, err = Load(filepath.Join(folder, "none.toml"))
	if !errors.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "none.toml") {
		t.Errorf("%v", err)
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "A-1.example": true, "": false, "-a": false, "a-": false, "a..b": false,
		"a_b": false, "1.2.3.4": false, "::1": false, "ü.de": false, strings.Repeat("a", 64): false, strings.Repeat("a.", 127): false} {
		if isName(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestManualIsCurrent(t *testing.T) {
	const path = "../docs/config.md"
	// What administrators need not know stands in the file only.
	got := "<!-- Generated from config/sections.go: run go test ./config -update after a change there. -->\n\n" + Describe()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s is not current (%v): run go test ./config -update", path, err)
	}
	for _, f := range fields(Default()) {
		if len(comments()[f.doc]) < 20 {
			t.Errorf("%s has no comment in sections.go", f.key)
		}
	}
}
