// Command release puts a built zerosearch into an archive with the licenses of everything in it, and writes its bill of
// materials (CycloneDX 1.5, JSON) from what the linker recorded in the program, as go version -m shows it.
// scripts/release.sh calls it for each platform.
//
//	go run ./scripts/release PROGRAM VERSION OUT
package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: release PROGRAM VERSION OUT")
		os.Exit(2)
	}
	if err := release(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// release writes OUT/zerosearch-VERSION-OS-ARCH.tar.gz (.zip for Windows) and the bill of materials beside it. The
// files LICENSE, README.md and internal/pdfium/LICENSE come from the working directory.
func release(program, version, out string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading %s: %w: build it with go build", program, err)
	}
	set := settings(info)
	name := fmt.Sprintf("zerosearch-%s-%s-%s", version, set["GOOS"], set["GOARCH"])
	exe, suffix := "zerosearch", ".tar.gz"
	if set["GOOS"] == "windows" {
		exe, suffix = "zerosearch.exe", ".zip"
	}
	files := []file{{name: exe, run: true}, {name: "LICENSE"}, {name: "README.md"}, {name: "THIRD_PARTY_LICENSES"}}
	for i, path := range []string{program, "LICENSE", "README.md"} {
		if files[i].data, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
	}
	cache, err := exec.Command("go", "env", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("asking go for its module cache: %w", err)
	}
	modules, root, _ := strings.Cut(strings.TrimSpace(string(cache)), "\n")
	if files[3].data, err = licenses(info, modules, strings.TrimSpace(root)); err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	bill, err := billOfMaterials(info, version)
	if err != nil {
		return err
	}
	text, err := pack(name, suffix, files)
	return errors.Join(err, os.WriteFile(filepath.Join(out, name+suffix), text, 0o644),
		os.WriteFile(filepath.Join(out, name+".cdx.json"), bill, 0o644))
}

// settings are those of the build.
func settings(info *buildinfo.BuildInfo) map[string]string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	return set
}

// licenses are the texts of the licenses of Go, of every module in the program and of PDFium.
func licenses(info *buildinfo.BuildInfo, modules, root string) ([]byte, error) {
	var all strings.Builder
	add := func(name, dir string) error {
		found, _ := filepath.Glob(filepath.Join(dir, "LICEN[SC]E*"))
		for _, pattern := range []string{"COPYING*", "NOTICE*"} {
			more, _ := filepath.Glob(filepath.Join(dir, pattern))
			found = append(found, more...)
		}
		if len(found) == 0 {
			return fmt.Errorf("%s has no license in %s: run go mod download", name, dir)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&all, "%s, %s\n%s\n\n%s\n\n", name, filepath.Base(path), strings.Repeat("-", 78), text)
		}
		return nil
	}
	if err := add("Go "+info.GoVersion, root); err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if err := add(m.Path+" "+m.Version, filepath.Join(modules,
			escaped(m.Path)+"@"+escaped(m.Version))); err != nil {
			return nil, err
		}
	}
	if hasPDFium(info) {
		if err := add("PDFium of "+pdfium+" "+pdfiumVersion, filepath.Join("internal", "pdfium")); err != nil {
			return nil, err
		}
	}
	return []byte(all.String()), nil
}

// escaped is a module path or version as the module cache writes it: a capital letter is ! and the small one.
func escaped(path string) string {
	var out strings.Builder
	for _, c := range path {
		if c >= 'A' && c <= 'Z' {
			out.WriteByte('!')
			c += 'a' - 'A'
		}
		out.WriteRune(c)
	}
	return out.String()
}
