package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// bill is a bill of materials: https://cyclonedx.org/docs/1.5/json.
type bill struct {
	Format   string `json:"bomFormat"`
	Spec     string `json:"specVersion"`
	Version  int    `json:"version"`
	Metadata struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// pdfium built the WebAssembly module of package internal/pdfium, whose generate.sh names the version too.
const (
	pdfium        = "github.com/klippa-app/go-pdfium"
	pdfiumVersion = "v1.21.4"
)

// hasPDFium says whether the program was built with the reader of PDF, which alone uses wazero.
func hasPDFium(info *buildinfo.BuildInfo) bool {
	return slices.ContainsFunc(info.Deps, func(m *debug.Module) bool {
		return m.Path == "github.com/tetratelabs/wazero"
	})
}

// billOfMaterials lists the program, Go's standard library, every module that is linked in, with the sums of go.sum,
// and PDFium.
func billOfMaterials(info *buildinfo.BuildInfo, version string) ([]byte, error) {
	b := bill{Format: "CycloneDX", Spec: "1.5", Version: 1}
	main := module("application", info.Main.Path, "v"+version, "")
	main.Name = "zerosearch"
	for _, s := range info.Settings {
		main.Properties = append(main.Properties, property{"go:build:" + s.Key, s.Value})
	}
	b.Metadata.Component = main
	std := component{Type: "library", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}
	std.PURL = "pkg:golang/std@" + std.Version
	std.Ref = std.PURL
	b.Components = append(b.Components, std)
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, module("library", m.Path, m.Version, m.Sum))
	}
	if hasPDFium(info) {
		c := module("library", pdfium, pdfiumVersion, "")
		c.Properties = []property{{"embedded", "internal/pdfium/pdfium.wasm.zst"}}
		b.Components = append(b.Components, c)
	}
	on := dependency{Ref: main.Ref}
	for _, c := range b.Components {
		on.DependsOn = append(on.DependsOn, c.Ref)
	}
	b.Dependencies = append(b.Dependencies, on)
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the bill of materials: %w", err)
	}
	return append(text, '\n'), nil
}

// module is a Go module; sum is its line in go.sum.
func module(kind, path, version, sum string) component {
	c := component{Type: kind, Name: path, Version: version,
		PURL: "pkg:golang/" + path + "@" + version + "?type=module"}
	c.Ref = c.PURL
	if sum != "" {
		c.Properties = []property{{"go:sum", sum}}
	}
	return c
}
