package config

import (
	_ "embed" // the comments in sections.go are the manual
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"time"
)

//go:embed sections.go
var sections string

// Describe is the manual of every key: type, default and meaning, as Markdown. docs/config.md is its output.
func Describe() string {
	docs := comments()
	var b strings.Builder
	b.WriteString(`# Configuration

The file is TOML, ` + "`parley.toml`" + ` by custom, named with ` + "`-c`" + `. Every key may be left out; an empty file is a working server. An unknown
key is an error. ` + "`parley config check -c parley.toml`" + ` says what is wrong with a file. Durations are texts with a unit (` + "`\"90s\"`" + `, ` + "`\"24h\"`" + `),
sizes are bytes. Keys marked "secret" may be ` + "`\"env:NAME\"`" + ` or ` + "`\"file:/path\"`" + `; the value is then read from there.
`)
	section := "none"
	for _, f := range fields(Default()) {
		name, key := "", f.key
		if i := strings.LastIndexByte(f.key, '.'); i >= 0 {
			name, key = f.key[:i], f.key[i+1:]
		}
		if name != section {
			section = name
			if name == "" {
				b.WriteString("\n## At the top\n\n")
			} else {
				fmt.Fprintf(&b, "\n## [%s]\n\n%s\n\n", name, sentence(docs[strings.Split(f.doc, ".")[0]]))
			}
			b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
		}
		meaning := docs[f.doc]
		if f.secret {
			meaning += " Secret."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key, typeName(f.value.Type()), standard(f), strings.ReplaceAll(meaning, "|", `\|`))
	}
	b.WriteString(fixed)
	return b.String()
}

// fixed are limits without a key: nobody needs them otherwise. Each is a constant of the package that it names.
const fixed = `
## Fixed limits

| what | limit | where |
|---|---|---|
| Max-Forwards | 255, more is 400; a request without it gets 70 | wire/sip, route |
| a body on the wire, before it is inflated or taken out of its envelope | limits.body and 64 kB | server |
| a WebSocket message, all its frames | limits.header_bytes, limits.body and 64 kB | transport |
| messages that wait to be written on one connection | 1,024 | transport |
| XML of a typing sign, a receipt, a registration event | 4 kB and 4 levels, 16 kB and 8 levels, 256 kB and 16 levels; no DTD, no entities | wire |
| multipart bodies | 4 levels, 32 parts | wire/mime |
| CPIM | 64 headers of 8 kB | wire/cpim |
| session descriptions | 64 kB, 2,000 lines, 64 media | wire/sdp |
`

// standard writes a key's default as it would stand in the file.
func standard(f field) string {
	switch v := f.value.Interface().(type) {
	case time.Duration:
		return fmt.Sprintf("`%q`", text(v))
	case []string:
		if f.key == "domains" {
			return "the machine's name"
		}
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		return "`[" + strings.Join(quoted, ", ") + "]`"
	case string:
		return fmt.Sprintf("`%q`", v)
	case *bool, map[string]Listener:
		return "not set"
	}
	return fmt.Sprintf("`%v`", f.value.Interface())
}

// sentence drops the name of the type that a Go comment begins with: "SIP says where" becomes "Says where".
func sentence(doc string) string {
	_, rest, _ := strings.Cut(doc, " ")
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "is the "), "is ")
	if rest == "" {
		return ""
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

// comments maps "Type" and "Type.Field" to their comments on one line.
func comments() map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "sections.go", sections, parser.ParseComments)
	if err != nil {
		panic("config: sections.go, which was compiled, does not parse: " + err.Error())
	}
	docs := map[string]string{}
	flat := func(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			t := spec.(*ast.TypeSpec)
			docs[t.Name.Name] = flat(gen.Doc)
			s, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range s.Fields.List {
				docs[t.Name.Name+"."+f.Names[0].Name] = flat(f.Doc)
			}
		}
	}
	return docs
}
