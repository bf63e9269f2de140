// Package arch holds the architecture: who may import whom, and how large things may grow.
package arch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/parley-im/parley"

// floor is a top-level folder: what it is for, and the folders it may import beside itself.
type floor struct {
	name, about string
	may         []string // floors, or folders in them; "*" for all
	siblings    bool     // packages inside it may not import each other
}

// floors is the house, from the ground up, in the order of docs/architecture.md. This table is the truth: a change here
// is a change of the architecture, made in the open and with its reason.
var floors = []floor{
	{"base", "errors, ids, running: standard library only", nil, false},
	{"wire", "bytes and values: no sockets, files, logs or goroutines", up("base"), false},
	{"config", "the configuration", up("base", "wire"), false},
	{"store", "records, the log and its committer", up("base", "config"), false},
	{"bus", "events between services and nodes", up("base", "config"), false},
	{"auth", "who are you", up("base", "config", "wire", "store"), false},
	// Some decisions are about bodies (does this session offer text that is not recorded?), so policy reads them.
	{"policy", "who may do what", up("base", "config", "wire", "store"), false},
	{"transport", "sockets", up("base", "config", "wire"), false},
	{"transaction", "transactions", up("base", "config", "wire", "transport"), false},
	{"dialog", "dialogs and subscriptions", up("base", "config", "wire", "transport", "transaction"), false},
	{"route", "where a request goes next", up("base", "config", "wire", "transport", "transaction", "dialog"), false},
	{"media", "bytes in motion", up("base", "config", "wire", "bus"), true},
	{"service", "what people come for", up("base", "config", "wire", "store", "bus", "auth", "policy", "transport", "transaction", "dialog", "route", "media"), true},
	{"api", "the typed HTTP API", up("base", "config", "wire", "store", "bus", "auth", "policy", "service"), false},
	{"web", "the web client and console, embedded", up("base", "config"), false},
	{"server", "builds, orders, starts and stops all parts", up("base", "config", "wire", "store", "bus", "auth", "policy", "transport", "transaction", "dialog", "route", "media", "service", "api", "web"), false},
	{"sdk", "clients of the API, the only packages with a compatibility promise", up("api/parley"), false},
	// The SDK's methods take and return the generated types, so its user names them.
	{"cmd", "the thin main and the command line", up("base", "config", "api/parley", "sdk", "server"), false},
	{"test", "whole-server tests, clients, load, crash", []string{"*"}, false},
	{"rfc", "the table of standards", nil, false},
	{"docs", "documents", nil, false},
	{"tools", "linters and generators, a module of its own", nil, false},
}

func up(names ...string) []string { return names }

// ignored are folders that are not part of the repository (.gitignore).
var ignored = []string{"parley-data", "bin", "node_modules"}

// outside is what a floor may not import from outside the module: the path itself, or what lies under it.
var outside = map[string][]string{
	"wire": {"net", "net/http", "os", "os/exec", "syscall", "log", "log/slog", "database/sql", "golang.org/x/net", "golang.org/x/sys"},
}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// goList asks the go command for every package of the module.
func goList(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// check returns a line for each import that the table forbids.
func check(p pkg) []string {
	from, ok := strings.CutPrefix(p.ImportPath, module+"/")
	if !ok {
		return []string{p.ImportPath + " is not in a floor: move it into a folder of the table"}
	}
	top, part := split(from)
	i := slices.IndexFunc(floors, func(f floor) bool { return f.name == top })
	if i < 0 {
		return []string{fmt.Sprintf("%s: the folder %s has no row in the table", from, top)}
	}
	f := floors[i]
	var bad []string
	imports := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
	slices.Sort(imports)
	for _, imp := range slices.Compact(imports) {
		to, ours := strings.CutPrefix(imp, module+"/")
		if !ours {
			if why := foreign(f.name, imp, p.Imports); why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", from, imp, why))
			}
			continue
		}
		toTop, toPart := split(to)
		switch {
		case toTop == top && f.siblings && toPart != part:
			bad = append(bad, fmt.Sprintf("%s imports its sibling %s: declare an interface and let server fill it, or publish an event", from, to))
		case toTop != top && !slices.ContainsFunc(f.may, func(m string) bool { return m == "*" || under(to, m) }):
			bad = append(bad, fmt.Sprintf("%s imports %s: %s may import %s", from, to, top, strings.Join(f.may, ", ")))
		}
	}
	return bad
}

// foreign says why a floor may not import something from outside the module; tests may (own are the imports of the code).
func foreign(floor, imp string, own []string) string {
	if !slices.Contains(own, imp) {
		return ""
	}
	if floor == "base" && strings.Contains(strings.Split(imp, "/")[0], ".") {
		return "base uses the standard library only"
	}
	for _, no := range outside[floor] {
		if imp == no || strings.Contains(no, ".") && under(imp, no) {
			return floor + " turns bytes into values and nothing else"
		}
	}
	return ""
}

// under says that a folder is another one or lies in it.
func under(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// split cuts "service/message/x" into "service" and "message".
func split(path string) (top, part string) {
	top, rest, _ := strings.Cut(path, "/")
	part, _, _ = strings.Cut(rest, "/")
	return top, part
}

func TestImports(t *testing.T) {
	pkgs := goList(t)
	if len(pkgs) < 5 {
		t.Fatalf("only %d packages found", len(pkgs))
	}
	for _, p := range pkgs {
		for _, line := range check(p) {
			t.Error(line)
		}
	}
}

func TestTopLevelFolders(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		known := slices.ContainsFunc(floors, func(f floor) bool { return f.name == e.Name() })
		if e.IsDir() && !known && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(ignored, e.Name()) {
			t.Errorf("the folder %s has no row in the table: put its contents on a floor, or add a row with its reason", e.Name())
		}
	}
}

// Rows point upwards only: a floor may import what stands above it in the table, so the house has a ground.
func TestTableIsAHouse(t *testing.T) {
	for i, f := range floors {
		for _, m := range f.may {
			j := slices.IndexFunc(floors, func(f floor) bool { return under(m, f.name) })
			if m != "*" && (j < 0 || j >= i) {
				t.Errorf("%s may import %s, which is not below it", f.name, m)
			}
		}
	}
}

// The check itself can fail.
func TestCheckFindsMistakes(t *testing.T) {
	in := func(from string, imports ...string) pkg {
		for i, imp := range imports {
			imports[i] = strings.Replace(imp, "~", module, 1)
		}
		return pkg{ImportPath: strings.Replace(from, "~", module, 1), Imports: imports}
	}
	for _, c := range []struct {
		p    pkg
		want string
	}{
		{in("~/service/message", "~/service/registrar"), "sibling"},
		{in("~/service/message", "~/service/message/internal/x", "~/store", "~/route", "fmt", "golang.org/x/sync/errgroup"), ""},
		{in("~/media/turn", "~/media/sfu"), "sibling"},
		{in("~/transport", "~/transaction"), "may import"},
		{in("~/transaction", "~/store"), "may import"},
		{in("~/base/run", "~/wire/sip"), "may import"},
		{in("~/base/run", "golang.org/x/sync/errgroup"), "standard library"},
		{in("~/wire/sip", "net/netip", "time", "os/exec"), "nothing else"},
		{in("~/wire/sip", "golang.org/x/net/ipv4"), "nothing else"},
		{in("~/wire/sip", "net/netip", "time", "strings", "golang.org/x/text/width"), ""},
		{in("~/util", "fmt"), "no row"},
		{in("~/sdk/go", "~/api/parley/v1"), ""},
		{in("~/sdk/go", "~/api"), "may import"},
		{in("~", "fmt"), "not in a floor"},
		{in("~/test/flows", "~/server", "~/service/message"), ""},
		{pkg{ImportPath: module + "/store", TestImports: []string{module + "/server"}}, "may import"},
	} {
		got := strings.Join(check(c.p), "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.p.ImportPath, got, c.want)
		}
	}
}

// docs/dependencies.md says of each dependency what we would write otherwise: a row for each module that is imported.
func TestDependenciesAreExplained(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]bool{}
	for _, p := range goList(t) {
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			imports[imp] = true
		}
	}
	explained := regexp.MustCompile(`(?m)^\| ([^ |]+\.[^|]+) \|`)
	var rows []string
	for _, m := range explained.FindAllStringSubmatch(string(page), -1) {
		rows = append(rows, strings.Split(m[1], ", ")...)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+`).FindAllStringSubmatch(string(gomod), -1) {
		for imp := range imports {
			if under(imp, m[1]) {
				used[m[1]] = true
			}
		}
	}
	for mod := range used {
		if !slices.Contains(rows, mod) {
			t.Errorf("%s is imported and has no row in docs/dependencies.md", mod)
		}
	}
	for _, row := range rows {
		if !used[row] {
			t.Errorf("docs/dependencies.md has a row for %s, which nothing imports", row)
		}
	}
	if len(used) < 5 {
		t.Fatalf("only %d modules found", len(used))
	}
}
