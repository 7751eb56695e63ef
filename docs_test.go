package zerosearch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files and folders that docs/reading.md sends a reader to exist.
func TestReadingNamesFiles(t *testing.T) {
	text, err := os.ReadFile("docs/reading.md")
	require.NoError(t, err)
	paths := regexp.MustCompile("`([a-z0-9_./]+)`").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, paths)
	for _, p := range paths {
		_, err := os.Stat(p[1])
		require.NoError(t, err, "docs/reading.md names %s", p[1])
	}
}

// Links between the pages of docs lead somewhere.
func TestLinksOfDocs(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), link[1]))
			require.NoError(t, err, "%s links to %s", page, link[1])
		}
	}
}

// Every recipe opens with what it needs and what to expect of it.
func TestRecipesSayWhatToExpect(t *testing.T) {
	recipes, err := filepath.Glob("recipes/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, recipes)
	for _, recipe := range recipes {
		text, err := os.ReadFile(recipe)
		require.NoError(t, err)
		head, _, _ := strings.Cut(string(text), "\nmodel:")
		for _, what := range []string{"# hardware: ", "# time: ", "# memory: ", "# expect: "} {
			require.Contains(t, head, what, recipe)
		}
	}
}
