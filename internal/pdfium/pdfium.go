// Package pdfium extracts the text of PDF documents with PDFium, which runs as WebAssembly (wazero): a document has no
// access to files and cannot affect another one. pdfium.wasm.zst is the module that go-pdfium publishes, compressed
// with zstd; generate.sh makes it again.
package pdfium

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

//go:embed pdfium.wasm.zst
var compressed []byte

// memoryPages is the limit of memory of one document, in WebAssembly pages of 64 KiB.
const memoryPages = 512 << 4

var (
	// ErrDamaged says that a document is no PDF file, or not a complete one.
	ErrDamaged = errors.New("not a complete PDF file")
	// ErrPassword says that a document opens with a password only.
	ErrPassword = errors.New("protected by a password")
)

// Library is PDFium, compiled for this machine.
type Library struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

// Open decompresses and compiles PDFium: a few seconds on one core, and a few hundred megabytes of memory meanwhile.
func Open() (*Library, error) {
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	code, err := decoder.DecodeAll(compressed, nil)
	if err != nil {
		return nil, fmt.Errorf("decompressing PDFium: %w", err)
	}
	ctx := experimental.WithCompilationWorkers(context.Background(), runtime.GOMAXPROCS(0))
	l := &Library{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExceptionHandling).
		WithCloseOnContextDone(true).WithMemoryLimitPages(memoryPages))}
	if err := l.load(ctx, code); err != nil {
		l.Close()
		return nil, fmt.Errorf("loading PDFium: %w", err)
	}
	return l, nil
}

func (l *Library) load(ctx context.Context, code []byte) (err error) {
	if _, err = wasi_snapshot_preview1.Instantiate(ctx, l.runtime); err != nil {
		return err
	}
	if l.module, err = l.runtime.CompileModule(ctx, code); err != nil {
		return err
	}
	// PDFium's callbacks to its caller (forms, progress, files) are not used to extract text: calling one is an error
	env := l.runtime.NewHostModuleBuilder("env")
	for _, f := range l.module.ImportedFunctions() {
		module, name, _ := f.Import()
		if module != "env" {
			continue
		}
		call := func(context.Context, []uint64) { panic(errors.New("PDFium called " + name)) }
		if name == "emscripten_notify_memory_growth" {
			call = func(context.Context, []uint64) {}
		}
		env.NewFunctionBuilder().WithGoFunction(api.GoFunc(call), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	_, err = env.Instantiate(ctx)
	return err
}

// Close frees the compiled code.
func (l *Library) Close() error { return l.runtime.Close(context.Background()) }

// Pages calls page with the text of each page in turn, until page returns an error, which Pages returns. Text that
// PDFium cannot map to characters is left out; U+0002 marks a word that is hyphenated at the end of a line. Each
// document is read by an instance of its own, which may use 512 MiB; the end of ctx stops it.
func (l *Library) Pages(ctx context.Context, document []byte, page func(text string) error) error {
	m, err := l.runtime.InstantiateModule(ctx, l.module, wazero.NewModuleConfig().WithName("").
		WithStartFunctions("_initialize"))
	if err != nil {
		return err
	}
	defer m.Close(context.Background())
	in := &instance{ctx: ctx, module: m, functions: map[string]api.Function{}}
	in.call("FPDF_InitLibrary")
	doc := in.open(document)
	count := int32(in.call("FPDF_GetPageCount", doc))
	for i := range count {
		text := in.text(doc, i)
		if in.err != nil {
			return fmt.Errorf("page %d: %w", i+1, in.err)
		}
		if err := page(text); err != nil {
			return err
		}
	}
	return in.err
}

// instance is PDFium with one document. After an error its calls do nothing.
type instance struct {
	ctx       context.Context
	module    api.Module
	functions map[string]api.Function
	err       error
}

// call gives the function's result, 0 where it has none.
func (in *instance) call(name string, args ...uint64) uint64 {
	if in.err != nil {
		return 0
	}
	f := in.functions[name]
	if f == nil {
		if f = in.module.ExportedFunction(name); f == nil {
			in.err = fmt.Errorf("PDFium has no function %s", name)
			return 0
		}
		in.functions[name] = f
	}
	results, err := f.Call(in.ctx, args...)
	if in.err = err; err != nil || len(results) == 0 {
		return 0
	}
	return results[0]
}

// open copies a document into PDFium's memory and opens it.
func (in *instance) open(document []byte) (handle uint64) {
	data := in.call("malloc", uint64(len(document)+1))
	if in.err == nil && (data == 0 || !in.module.Memory().Write(uint32(data), document)) {
		in.err = fmt.Errorf("it needs more than %d MiB", memoryPages>>4)
	}
	if handle = in.call("FPDF_LoadMemDocument", data, uint64(len(document)), 0); handle != 0 || in.err != nil {
		return handle
	}
	// the numbers are FPDF_ERR_FILE and so on of PDFium's fpdfview.h
	switch code := in.call("FPDF_GetLastError"); code {
	case 2, 3:
		in.err = ErrDamaged
	case 4, 5:
		in.err = ErrPassword
	default:
		in.err = fmt.Errorf("PDFium's error %d", code)
	}
	return 0
}

// text is the text of page i.
func (in *instance) text(doc uint64, i int32) string {
	page := in.call("FPDF_LoadPage", doc, uint64(i))
	if in.err == nil && page == 0 {
		in.err = errors.New("PDFium cannot load it")
	}
	text := in.call("FPDFText_LoadPage", page)
	count := int32(in.call("FPDFText_CountChars", text))
	var runes []rune
	for k := int32(0); k < count && in.err == nil; k++ {
		if r := rune(in.call("FPDFText_GetUnicode", text, uint64(k))); r != 0 {
			runes = append(runes, r)
		}
	}
	in.call("FPDFText_ClosePage", text)
	in.call("FPDF_ClosePage", page)
	return string(runes)
}
