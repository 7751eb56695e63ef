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

// The tour of README.md shows folders that exist: names stand before blanks and what is said of them, twice a line at
// most, those of a folder's own folders behind two blanks. So do the files of the reading order.
func TestTourNamesFolders(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, tour, _ := strings.Cut(string(text), "## A tour\n\n```\n")
	tour, order, ok := strings.Cut(tour, "```\n")
	require.True(t, ok)
	parent, columns := "", regexp.MustCompile(" {2,}")
	for line := range strings.Lines(tour) {
		inside := strings.HasPrefix(line, "  ")
		for i, part := range columns.Split(strings.TrimSpace(line), -1) {
			if i%2 > 0 {
				continue
			}
			for _, name := range strings.Fields(part) {
				if !inside && i == 0 {
					parent = name
				} else if inside {
					name = filepath.Join(parent, name)
				}
				require.DirExists(t, name, line)
			}
		}
	}
	files := regexp.MustCompile("`([a-z0-9_/]+\\.go)`").FindAllStringSubmatch(order, -1)
	require.Greater(t, len(files), 5)
	for _, f := range files {
		require.FileExists(t, f[1])
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
