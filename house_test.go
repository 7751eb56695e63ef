package zerosearch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func eachGoFile(t *testing.T, visit func(path string, src []byte)) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !bytes.Contains(src[:min(len(src), 400)], []byte("Code generated")) {
				visit(path, src)
			}
		}
		return nil
	})
	require.NoError(t, err)
}

// One concept a file: none longer than 500 lines.
func TestFilesAreShort(t *testing.T) {
	eachGoFile(t, func(path string, src []byte) {
		if n := bytes.Count(src, []byte("\n")); n > 500 {
			t.Errorf("%s has %d lines: split it by concept", path, n)
		}
	})
}

// Every exported name says what it is.
func TestExportedNamesHaveDocs(t *testing.T) {
	eachGoFile(t, func(path string, src []byte) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "cmd") || strings.Contains(path, "_gen") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
		require.NoError(t, err)
		complain := func(name *ast.Ident) {
			t.Errorf("%s: %s has no doc comment", fset.Position(name.Pos()), name.Name)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !wellKnown[d.Name.Name] {
					complain(d.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if d.Doc == nil && s.Doc == nil && s.Name.IsExported() {
							complain(s.Name)
						}
					case *ast.ValueSpec:
						if d.Doc == nil && s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
							complain(s.Names[0])
						}
					}
				}
			}
		}
	})
}

// wellKnown methods implement interfaces whose documentation is theirs.
var wellKnown = map[string]bool{"Error": true, "String": true, "Unwrap": true, "Is": true, "Len": true, "Less": true,
	"Swap": true, "Write": true, "Read": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

// Lines have at most 120 columns, a tab being four. Exceptions are lines with string literals or struct tags, and
// indented lines of comments (tables and formulas).
func TestLinesAreShort(t *testing.T) {
	eachGoFile(t, func(path string, src []byte) {
		for i, line := range strings.Split(string(src), "\n") {
			columns := 0
			for _, r := range line {
				if columns++; r == '\t' {
					columns = (columns + 3) / 4 * 4
				}
			}
			code := strings.TrimLeft(line, "\t")
			apart := strings.HasPrefix(code, "//\t") || strings.HasPrefix(code, "//  ")
			if columns > 120 && !apart && !strings.ContainsAny(line, "\"`") && !strings.HasPrefix(code, `\|`) {
				t.Errorf("%s:%d has %d columns: break it", path, i+1, columns)
			}
		}
	})
}
