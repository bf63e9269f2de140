// Command protogen turns the schema, api/**/*.proto, into Go: the messages and the Connect clients and handlers; and into its
// reference, docs/api.md. It needs no protoc; the plugins are the versions of tools/go.mod. Run it in this module:
//
//	go run -C tools ./protogen          # write
//	go run -C tools ./protogen -check   # fail if a file would change
//
// With -es it makes the TypeScript of sdk/ts instead. That takes Node and what npm ci in sdk/ts installs.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	check := flag.Bool("check", false, "write nothing, fail if a file would change")
	root := flag.String("root", "../api", "folder of the schema")
	es := flag.Bool("es", false, "TypeScript for sdk/ts instead of Go")
	flag.Parse()
	targets, docs := goCode(*root), filepath.Join(*root, "..", "docs", "api.md")
	if *es {
		targets, docs = typeScript(), ""
	}
	if err := run(*root, targets, docs, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

// target is one plugin, and where its files go.
type target struct {
	plugin    []string // the command
	parameter string
	folder    string
	again     string // command that writes the files
}

func goCode(root string) []target {
	again := "go run -C tools ./protogen"
	return []target{
		{[]string{"go", "tool", "protoc-gen-go"}, "paths=source_relative", root, again},
		{[]string{"go", "tool", "protoc-gen-connect-go"}, "paths=source_relative", root, again},
	}
}

func typeScript() []target {
	plugin := filepath.Join("..", "sdk", "ts", "node_modules", "@bufbuild", "protoc-gen-es", "bin", "protoc-gen-es")
	return []target{{[]string{"node", plugin}, "target=ts,import_extension=js", "../sdk/ts/src/gen", "npm run generate in sdk/ts"}}
}

// run makes what targets make, and the reference if docs names its file.
func run(root string, targets []target, docs string, check bool) error {
	request, err := compile(root)
	if err != nil {
		return err
	}
	for _, t := range targets {
		files, err := generate(t, request)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := put(filepath.Join(t.folder, f.GetName()), []byte(f.GetContent()), check); err != nil {
				return fmt.Errorf("%w: run %s", err, t.again)
			}
		}
	}
	if docs == "" {
		return nil
	}
	text, err := reference(request)
	if err != nil {
		return err
	}
	if err := put(docs, []byte(text), check); err != nil {
		return fmt.Errorf("%w: run %s", err, targets[0].again)
	}
	return nil
}

// compile reads every .proto file under root and makes the request that plugins understand.
func compile(root string) (*pluginpb.CodeGeneratorRequest, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".proto" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	for _, f := range files {
		addWithImports(request, f)
	}
	return request, nil
}

// addWithImports adds a file below the files it imports, each once.
func addWithImports(request *pluginpb.CodeGeneratorRequest, f protoreflect.FileDescriptor) {
	if slices.ContainsFunc(request.ProtoFile, func(p *descriptorpb.FileDescriptorProto) bool { return p.GetName() == f.Path() }) {
		return
	}
	imports := f.Imports()
	for i := range imports.Len() {
		addWithImports(request, imports.Get(i).FileDescriptor)
	}
	request.ProtoFile = append(request.ProtoFile, protodesc.ToFileDescriptorProto(f))
}

// generate runs one plugin.
func generate(t target, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	plugin := filepath.Base(t.plugin[len(t.plugin)-1])
	request.Parameter = proto.String(t.parameter)
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(t.plugin[0], t.plugin[1:]...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plugin, err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, fmt.Errorf("%s: %w", plugin, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, strings.TrimSpace(response.GetError()))
	}
	return response.File, nil
}

// put writes a file, or with check complains if that would change it.
func put(path string, text []byte, check bool) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, text) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not current", path)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644))
}
