// Package rfc checks the table of standards, index.tsv, against the code and writes docs/rfc.md from it.
//
// A row has six columns, separated by tabs: the number of the RFC; the section, "-" for the whole; what is supported: yes,
// partial or no; the package, "-" for none; the tests that prove it, as folder.TestName with spaces between, "-" for none;
// and words: the title of the RFC for "-", else what the section is about or what is missing. Rows of a section stand
// below the row of their RFC, which is "partial" then.
package rfc

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/rfc.md")

type row struct {
	line                                int
	number                              int
	section, support, pkg, proof, words string
}

// parse reads the table and returns a complaint for each line that is not a row.
func parse(text string) (rows []row, bad []string) {
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 6 || slices.Contains(f, "") {
			bad = append(bad, fmt.Sprintf("line %d: want 6 columns, none of them empty: %q", i+1, line))
			continue
		}
		n, err := strconv.Atoi(f[0])
		if err != nil || !slices.Contains([]string{"yes", "partial", "no"}, f[2]) {
			bad = append(bad, fmt.Sprintf("line %d: not a number, or not yes, partial or no: %q", i+1, line))
			continue
		}
		rows = append(rows, row{i + 1, n, f[1], f[2], f[3], f[4], f[5]})
	}
	return rows, bad
}

// consistent complains about rows that contradict each other: order, repeats, a yes without proof, sections without
// their RFC.
func consistent(rows []row) (bad []string) {
	whole := map[int]row{}
	for i, r := range rows {
		complain := func(format string, args ...any) {
			bad = append(bad, fmt.Sprintf("line %d: RFC %d %s: ", r.line, r.number, r.section)+fmt.Sprintf(format, args...))
		}
		if i > 0 && rows[i-1].number > r.number {
			complain("rows go by number, and this stands below RFC %d", rows[i-1].number)
		}
		if r.section == "-" {
			if _, twice := whole[r.number]; twice {
				complain("two rows")
			}
			whole[r.number] = r
		} else if w, ok := whole[r.number]; !ok || w.support != "partial" {
			complain("a section needs a row of the whole RFC above it, and that is partial")
		}
		if r.support == "yes" && r.proof == "-" {
			complain("yes without a test")
		}
		if r.support == "no" && (r.proof != "-" || r.pkg != "-") {
			complain("no, but with a package or a test")
		}
	}
	return bad
}

const root = ".."

var (
	cited    = regexp.MustCompile(`\bRFC[ -]?(\d{3,5})\b`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example|Benchmark)\w*)\(`)
)

// scan walks the Go files: where each RFC is cited first, and which tests exist, as folder.TestName.
func scan(t *testing.T) (cites map[int]string, tests map[string]bool) {
	t.Helper()
	cites, tests = map[int]string{}, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, m := range cited.FindAllStringSubmatch(string(text), -1) {
			if n, err := strconv.Atoi(m[1]); err == nil && cites[n] == "" {
				cites[n] = path
			}
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
				tests[filepath.ToSlash(folder)+"."+m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cites, tests
}

// unproven complains about proofs and packages that do not exist, and about citations without a row.
func unproven(rows []row, cites map[int]string, tests map[string]bool, exists func(folder string) bool) (bad []string) {
	for _, r := range rows {
		for _, name := range strings.Fields(r.proof) {
			if name != "-" && !tests[name] {
				bad = append(bad, fmt.Sprintf("line %d: RFC %d: there is no test %s", r.line, r.number, name))
			}
		}
		for _, folder := range strings.Fields(r.pkg) {
			if folder != "-" && !exists(folder) {
				bad = append(bad, fmt.Sprintf("line %d: RFC %d: there is no package %s", r.line, r.number, folder))
			}
		}
	}
	for n, path := range cites {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.number == n && r.section == "-" }) {
			bad = append(bad, fmt.Sprintf("RFC %d is cited in %s but has no row in rfc/index.tsv", n, path))
		}
	}
	slices.Sort(bad)
	return bad
}

func isFolder(path string) bool {
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(path)))
	return err == nil && info.IsDir()
}

func TestIndex(t *testing.T) {
	text, err := os.ReadFile("index.tsv")
	if err != nil {
		t.Fatal(err)
	}
	rows, bad := parse(string(text))
	cites, tests := scan(t)
	if len(rows) < 20 || len(cites) < 20 || len(tests) < 20 {
		t.Fatalf("%d rows, %d citations, %d tests: that is not the whole project", len(rows), len(cites), len(tests))
	}
	bad = slices.Concat(bad, consistent(rows), unproven(rows, cites, tests, isFolder))
	for _, line := range bad {
		t.Error(line)
	}
	got := page(rows)
	const path = "../docs/rfc.md"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || string(want) != got {
		t.Errorf("docs/rfc.md is not current (%v): run go test ./rfc -update", err)
	}
}

// page is docs/rfc.md.
func page(rows []row) string {
	var b strings.Builder
	b.WriteString(`# Standards

Generated from rfc/index.tsv: run ` + "`go test ./rfc -update`" + ` after a change there. "Yes" has a test that proves it; "partial" says below what is
there and what is missing; "no" is known and cited, but not supported.

| RFC | | supported | where | proved by |
|---|---|---|---|---|
`)
	for _, r := range rows {
		name := fmt.Sprintf("[%d](https://www.rfc-editor.org/rfc/rfc%[1]d)", r.number)
		if r.section != "-" {
			name = "§" + r.section
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, r.words, r.support, code(r.pkg), code(r.proof))
	}
	return b.String()
}

func code(s string) string {
	if s == "-" {
		return ""
	}
	return "`" + strings.Join(strings.Fields(s), "` `") + "`"
}

// The check itself can fail.
func TestCheckFindsMistakes(t *testing.T) {
	const head = "rfc\tsection\tsupport\tpackage\ttest\twords\n"
	for _, c := range []struct{ table, want string }{
		{"3261\t-\tyes\twire/sip\twire/sip.TestA\tSIP\n", ""},
		{"3261\t-\tyes\twire/sip\t-\tSIP\n", "yes without a test"},
		{"3261\t-\tyes\twire/sip\twire/sip.TestB\tSIP\n", "no test wire/sip.TestB"},
		{"3261\t-\tpartial\twire/sap\t-\tSIP\n", "no package wire/sap"},
		{"3261\t-\tno\twire/sip\t-\tSIP\n", "no, but with a package"},
		{"3261\t-\tperhaps\t-\t-\tSIP\n", "not yes, partial or no"},
		{"3261\t-\tno\t-\tSIP\n", "want 6 columns"},
		{"3261\t-\tno\t-\t-\tSIP\n3261\t-\tno\t-\t-\tSIP\n", "two rows"},
		{"3261\t8\tno\t-\t-\tUser agents\n", "needs a row of the whole"},
		{"3261\t-\tno\t-\t-\tSIP\n2045\t-\tno\t-\t-\tMIME\n", "rows go by number"},
		{"2045\t-\tno\t-\t-\tMIME\n", "RFC 3261 is cited in a.go"},
	} {
		rows, bad := parse(head + c.table)
		exists := func(folder string) bool { return folder == "wire/sip" }
		bad = slices.Concat(bad, consistent(rows), unproven(rows, map[int]string{3261: "a.go"}, map[string]bool{"wire/sip.TestA": true}, exists))
		got := strings.Join(bad, "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%q: %q, want %q", c.table, got, c.want)
		}
	}
}
