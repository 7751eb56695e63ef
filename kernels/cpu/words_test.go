package cpu

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWords: the words of the arm64 assembly are what GNU as makes of the instructions that stand beside them.
func TestWords(t *testing.T) {
	as, err := exec.LookPath("aarch64-linux-gnu-as")
	if err != nil {
		t.Skip("no aarch64-linux-gnu-as to ask: install binutils-aarch64-linux-gnu")
	}
	files, err := filepath.Glob("z*_arm64.s")
	require.NoError(t, err)
	words := map[string]string{} // by instruction
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`WORD \$(0x[0-9a-f]{8}) // (.*)`).FindAllStringSubmatch(string(text), -1) {
			if was, ok := words[m[2]]; ok {
				require.Equal(t, was, m[1], "%s: %s", f, m[2])
			}
			words[m[2]] = m[1]
		}
	}
	require.NotEmpty(t, words)
	var list []string
	for w := range words {
		list = append(list, w)
	}
	sort.Strings(list)
	code := assemble(t, as, strings.Join(list, "\n")+"\n", "-march=armv8.6-a")
	require.Len(t, code, 4*len(list))
	for i, w := range list {
		require.Equal(t, words[w], fmt.Sprintf("0x%08x", binary.LittleEndian.Uint32(code[4*i:])), w)
	}
}
