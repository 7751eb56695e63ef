package cpu

import (
	"encoding/hex"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBytes: the bytes of the amd64 assembly are what GNU as makes of the instructions that stand beside them.
func TestBytes(t *testing.T) {
	as, err := exec.LookPath("x86_64-linux-gnu-as")
	if err != nil {
		t.Skip("no x86_64-linux-gnu-as to ask: install binutils-x86-64-linux-gnu")
	}
	files, err := filepath.Glob("z*_amd64.s")
	require.NoError(t, err)
	code := map[string]string{} // by instruction
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^\s(BYTE .*) // (.*)$`).FindAllStringSubmatch(string(text), -1) {
			b := strings.NewReplacer("BYTE $0x", "", "; ", "").Replace(m[1])
			if was, ok := code[m[2]]; ok {
				require.Equal(t, was, b, "%s: %s", f, m[2])
			}
			code[m[2]] = b
		}
	}
	list := slices.Sorted(maps.Keys(code))
	require.Greater(t, len(list), 100)
	// the order of operands is that of GNU as, names of registers and addresses are not
	text := strings.Join(list, "\n") + "\n"
	text = regexp.MustCompile(`\b(TMM\d|Z\d|R\d)`).ReplaceAllString(text, "%$1")
	text = regexp.MustCompile(`\b([ABCD]X|[SD]I)\b`).ReplaceAllString(text, "%r$1")
	text = regexp.MustCompile(`\)\((.*)\*1\)`).ReplaceAllString(text, ",$1,1)")
	text = strings.NewReplacer("%Z", "%zmm", " 0(", " (").Replace(text)
	bin := assemble(t, as, strings.ToLower(text))
	got := hex.EncodeToString(bin)
	for _, c := range list {
		n := min(len(code[c]), len(got))
		require.Equal(t, code[c], got[:n], c)
		got = got[n:]
	}
	require.Empty(t, got)
}

// assemble is the code that as, a GNU assembler, makes of text.
func assemble(t *testing.T, as, text string, flags ...string) []byte {
	dir := t.TempDir()
	source, object, raw := filepath.Join(dir, "a.s"), filepath.Join(dir, "a.o"), filepath.Join(dir, "a.bin")
	require.NoError(t, os.WriteFile(source, []byte(text), 0o600))
	run := func(name string, args ...string) {
		out, err := exec.Command(name, args...).CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, out)
	}
	run(as, append(flags, "-o", object, source)...)
	run(strings.TrimSuffix(as, "as")+"objcopy", "-O", "binary", "-j", ".text", object, raw)
	code, err := os.ReadFile(raw)
	require.NoError(t, err)
	return code
}
