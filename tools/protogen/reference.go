package main

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// head is what the reference begins with.
//
//go:embed api.head.md
var head string

// chapters are the files of the schema in the order of the reference; others come after them.
var chapters = []string{"session", "devices", "settings", "people", "contacts", "presence", "conversations", "messages", "events", "files", "users", "archive", "status"}

// reference writes docs/api.md from the schema and its comments.
func reference(request *pluginpb.CodeGeneratorRequest) (string, error) {
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: request.ProtoFile})
	if err != nil {
		return "", fmt.Errorf("reading the schema: %w", err)
	}
	var list []protoreflect.FileDescriptor
	files.RangeFilesByPackage("parley.v1", func(f protoreflect.FileDescriptor) bool {
		list = append(list, f)
		return true
	})
	place := func(f protoreflect.FileDescriptor) int {
		if i := slices.Index(chapters, strings.TrimSuffix(filepath.Base(f.Path()), ".proto")); i >= 0 {
			return i
		}
		return len(chapters)
	}
	slices.SortFunc(list, func(a, b protoreflect.FileDescriptor) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a.Path(), b.Path())
	})
	w := &writer{}
	w.WriteString(head)
	for _, f := range list {
		w.file(f)
	}
	return w.String(), nil
}

type writer struct{ strings.Builder }

// file writes the services of a file, and the messages that are neither request nor response.
func (w *writer) file(f protoreflect.FileDescriptor) {
	said := map[protoreflect.FullName]bool{}
	for i := range f.Services().Len() {
		s := f.Services().Get(i)
		fmt.Fprintf(w, "\n## %s\n\n%s\n", s.Name(), comment(s))
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			stream := ""
			if m.IsStreamingServer() {
				stream = " (stream)"
			}
			fmt.Fprintf(w, "\n### %s\n\n`POST /%s/%s`%s\n\n%s\n", m.Name(), s.FullName(), m.Name(), stream, comment(m))
			w.fields("Request", m.Input())
			if m.Output().ParentFile() == f && strings.HasSuffix(string(m.Output().Name()), "Response") {
				w.fields("Response", m.Output())
				said[m.Output().FullName()] = true
			} else {
				fmt.Fprintf(w, "\nResponse: %s\n", link(m.Output()))
			}
			said[m.Input().FullName()] = true
		}
	}
	used := usedElsewhere(f)
	for i := range f.Messages().Len() {
		if m := f.Messages().Get(i); !said[m.FullName()] || used[m.FullName()] {
			fmt.Fprintf(w, "\n### %s\n", m.Name())
			if c := comment(m); c != "" {
				fmt.Fprintf(w, "\n%s\n", c)
			}
			w.fields("Fields", m)
		}
	}
}

// usedElsewhere are the messages of a file that are fields of others.
func usedElsewhere(f protoreflect.FileDescriptor) map[protoreflect.FullName]bool {
	used := map[protoreflect.FullName]bool{}
	for i := range f.Messages().Len() {
		fields := f.Messages().Get(i).Fields()
		for j := range fields.Len() {
			if m := fields.Get(j).Message(); m != nil {
				used[m.FullName()] = true
			}
		}
	}
	return used
}

func (w *writer) fields(title string, m protoreflect.MessageDescriptor) {
	if m.Fields().Len() == 0 {
		fmt.Fprintf(w, "\n%s: `{}`\n", title)
		return
	}
	fmt.Fprintf(w, "\n| %s | type | meaning |\n|---|---|---|\n", strings.ToLower(title))
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		meaning := comment(f)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			meaning = strings.TrimSpace("one of `" + string(o.Name()) + "`. " + meaning)
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", f.JSONName(), kind(f), strings.ReplaceAll(strings.ReplaceAll(meaning, "\n", " "), "|", `\|`))
	}
}

// kind is the type of a field, as JSON has it.
func kind(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "object of " + kind(f.MapValue())
	}
	name := ""
	switch f.Kind() {
	case protoreflect.BoolKind:
		name = "true or false"
	case protoreflect.StringKind:
		name = "text"
	case protoreflect.BytesKind:
		name = "bytes in base64"
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		name = `number as text`
	case protoreflect.MessageKind:
		name = link(f.Message())
	case protoreflect.EnumKind:
		name = "word"
	default:
		name = "number"
	}
	switch {
	case f.IsList():
		return "list of " + name
	case f.HasOptionalKeyword():
		return name + ", or absent"
	}
	return name
}

// link names a message, and leads to it.
func link(m protoreflect.MessageDescriptor) string {
	switch m.FullName() {
	case "google.protobuf.Timestamp":
		return "time"
	case "google.protobuf.Duration":
		return "duration"
	}
	return fmt.Sprintf("[%s](#%s)", m.Name(), strings.ToLower(string(m.Name())))
}

// comment is what the schema says of something: above it, or behind it on the line.
func comment(d protoreflect.Descriptor) string {
	at := d.ParentFile().SourceLocations().ByDescriptor(d)
	text := strings.TrimSpace(at.LeadingComments)
	if text == "" {
		text = strings.TrimSpace(at.TrailingComments)
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		// What is indented is an example, and stays so.
		if line := strings.TrimPrefix(lines[i], " "); strings.HasPrefix(line, "  ") {
			lines[i] = "  " + line
		} else {
			lines[i] = strings.TrimSpace(line)
		}
	}
	return strings.Join(lines, "\n")
}
