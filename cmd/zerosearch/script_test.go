package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"

	"github.com/zerosearch-go/zerosearch/internal/scripttest"
)

// embedderDir is a model of package dense, found before a script changes the folder.
var embedderDir, _ = filepath.Abs("../../rl/dense/testdata/model")

// TestScripts runs testdata/script/*.txt: a behaviour a script, as the user sees it. A command stands behind $, its
// standard input behind <; then follow what it printed on standard output (>) and standard error (!), and its exit code
// (=) unless it is 0. Go test -update writes the last three. Commands are zerosearch and those of helpers; words are
// separated by blanks, '...' keeps blanks, NAME=VALUE before a command sets the environment. Everything happens in an
// empty folder, shown as $WORK.
func TestScripts(t *testing.T) {
	scripttest.Each(t, "testdata/script/*.txt", func(t *testing.T, path, text string) {
		work := t.TempDir()
		t.Chdir(work)
		got := (&script{t: t, work: work, urls: map[string]string{}}).play(text)
		scripttest.Compare(t, path, text, got, *update)
	})
}

type script struct {
	t    *testing.T
	work string
	urls map[string]string // servers by name: $NAME stands for the address
}

// play runs the commands of a script and returns it with what they printed.
func (s *script) play(text string) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		i++
		if kind(line) == '>' || kind(line) == '!' || kind(line) == '=' {
			continue
		}
		out.WriteString(line + "\n")
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		var stdin strings.Builder
		for ; i < len(lines) && kind(lines[i]) == '<'; i++ {
			out.WriteString(lines[i] + "\n")
			stdin.WriteString(strings.TrimPrefix(strings.TrimPrefix(lines[i], "<"), " ") + "\n")
		}
		code, stdout, stderr := s.command(s.words(command), stdin.String())
		out.WriteString(s.show('>', stdout) + s.show('!', stderr))
		if code != 0 {
			fmt.Fprintf(&out, "= %d\n", code)
		}
	}
	return out.String()
}

func kind(line string) byte {
	if len(line) == 1 || len(line) > 1 && line[1] == ' ' {
		return line[0]
	}
	return 0
}

func (s *script) words(command string) []string {
	var out []string
	for name, url := range s.urls {
		command = strings.ReplaceAll(command, "$"+name, url)
	}
	for i, part := range strings.Split(strings.ReplaceAll(command, "$WORK", s.work), "'") {
		if i%2 == 0 {
			out = append(out, strings.Fields(part)...)
		} else {
			out = append(out, part)
		}
	}
	return out
}

// changing are parts of the output that differ from run to run or from machine to machine.
var changing = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`ETA \S+`), "ETA T"},
	{regexp.MustCompile(`downloaded in \S+`), "downloaded in T"},
	{regexp.MustCompile(`"modified":"[^"]*"`), `"modified":T`},
	{regexp.MustCompile(`(quer(?:y|ies)[^;]*, )[0-9.]+ s\b`), "${1}T"},
	{regexp.MustCompile(`steps, [0-9.]+(ms|s|m|h)[0-9ms.]*`), "steps, T"},
	{regexp.MustCompile(`\d+ tokens/s`), "N tokens/s"},
	{regexp.MustCompile(`[0-9.]+ rows/s`), "N rows/s"},
	{regexp.MustCompile(`"seconds":[0-9.e+-]+`), `"seconds":T`},
	{regexp.MustCompile(`("(?:timing_s|perf)/[a-z_]+"):[0-9.e+-]+`), `$1:T`},
	{regexp.MustCompile(`(, )\S+ go1\.\S+`), `${1}VERSION`},
	{regexp.MustCompile(`events\.out\.tfevents\.\S+`), "events.out.tfevents.T"},
	{regexp.MustCompile(`this machine has .*`), "this machine has ..."},
	{regexp.MustCompile(`a step takes .*`), "a step takes ..."},
	{regexp.MustCompile(`computed   on \w+`), "computed   on PATH"},
}

func (s *script) show(mark byte, text string) string {
	text = strings.ReplaceAll(text, s.work, "$WORK")
	for name, url := range s.urls {
		text = strings.ReplaceAll(strings.ReplaceAll(text, url, "$"+name), strings.TrimPrefix(url, "http://"), "$"+name)
	}
	for _, c := range changing {
		text = c.re.ReplaceAllString(text, c.to)
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(string(mark)+" "+strings.TrimSuffix(line, "\n"), " ") + "\n")
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		out.WriteString(string(mark) + " (no line break)\n")
	}
	return out.String()
}

func (s *script) command(words []string, stdin string) (code int, stdout, stderr string) {
	for len(words) > 0 && strings.Contains(words[0], "=") {
		name, value, _ := strings.Cut(words[0], "=")
		old, had := os.LookupEnv(name)
		os.Setenv(name, value)
		defer func() {
			if os.Unsetenv(name); had {
				os.Setenv(name, old)
			}
		}()
		words = words[1:]
	}
	if words[0] == "zerosearch" {
		return zs(stdin, words[1:]...)
	}
	switch words[0] {
	case "engine": // engine NAME KIND: a search engine at $NAME, see searchEngine
		server := httptest.NewServer(searchEngine(words[2]))
		s.t.Cleanup(server.Close)
		s.urls[words[1]] = server.URL
		return 0, "", ""
	case "hub": // hub NAME: a Hugging Face hub at $NAME, see newHub
		s.urls[words[1]] = newHub(s.t)
		return 0, "", ""
	case "start": // start NAME zerosearch serve ...: a server of ours at $NAME
		s.urls[words[1]] = startServer(s.t, s.work, append(words[3:], "--port", "0", "--json"))
		return 0, "", ""
	}
	help, ok := helpers[words[0]]
	require.True(s.t, ok, "no command %s", words[0])
	stdout, err := help(words[1:], stdin)
	if err != nil {
		return 1, stdout, err.Error() + "\n"
	}
	return 0, stdout, ""
}

// smallGGUF is read before a script changes its folder.
var smallGGUF, _ = os.ReadFile("../../model/testdata/gguf/small-qwen3.gguf")

// helpers are the commands of scripts besides the program.
var helpers = map[string]func(args []string, stdin string) (string, error){
	// tiny DIR: a model folder of random weights. tiny-ids DIR: one without a tokenizer.
	"tiny":     func(a []string, _ string) (string, error) { return "", tinyModel(a[0], 7, true) },
	"tiny-ids": func(a []string, _ string) (string, error) { return "", tinyModel(a[0], 7, false) },
	// taught DIR: a model that answers the questions of questions FILE, at times.
	"taught": func(a []string, _ string) (string, error) {
		dir, err := taughtModel()
		if err != nil {
			return "", err
		}
		return "", os.CopyFS(a[0], os.DirFS(dir))
	},
	// embedder DIR: an embedding model with random weights.
	"embedder": func(a []string, _ string) (string, error) {
		return "", os.CopyFS(a[0], os.DirFS(embedderDir))
	},
	// small-gguf FILE: a GGUF file of random weights.
	"small-gguf": func(a []string, _ string) (string, error) {
		if err := os.MkdirAll(filepath.Dir(a[0]), 0o755); err != nil {
			return "", err
		}
		return "", os.WriteFile(a[0], smallGGUF, 0o644)
	},
	// short-prompt FILE: a chat template of the question alone.
	"short-prompt": func(a []string, _ string) (string, error) {
		return "",
			os.WriteFile(a[0], []byte(shortPrompt), 0o644)
	},
	"questions": func(a []string, _ string) (string, error) {
		return "",
			os.WriteFile(a[0], []byte(questions()), 0o644)
	},
	"write": func(a []string, stdin string) (string, error) {
		return "",
			os.WriteFile(a[0], []byte(stdin), 0o644)
	},
	// windows FILE: as an editor of Windows saves it, with a byte order mark and carriage returns. utf16 FILE: as its
	// shell does.
	"windows": func(a []string, _ string) (string, error) {
		return "", rewrite(a[0], func(b []byte) ([]byte, error) {
			return []byte("\ufeff" + strings.ReplaceAll(string(b), "\n", "\r\n")), nil
		})
	},
	"utf16": func(a []string, _ string) (string, error) {
		return "", rewrite(a[0], unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Bytes)
	},
	"link": func(a []string, _ string) (string, error) { return "", os.Symlink(a[0], a[1]) },
	"append": func(a []string, stdin string) (string, error) {
		f, err := os.OpenFile(a[0], os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return "", err
		}
		defer f.Close()
		_, err = io.WriteString(f, stdin)
		return "", err
	},
	// replace FILE OLD NEW
	"replace": func(a []string, _ string) (string, error) {
		b, err := os.ReadFile(a[0])
		if err == nil && !strings.Contains(string(b), a[1]) {
			err = fmt.Errorf("%s does not hold %s", a[0], a[1])
		}
		if err != nil {
			return "", err
		}
		return "", os.WriteFile(a[0], []byte(strings.ReplaceAll(string(b), a[1], a[2])), 0o644)
	},
	// curl -s URL -d BODY: the answer's body.
	"curl": func(a []string, _ string) (string, error) {
		r, err := http.Post(a[1], "application/json", strings.NewReader(a[3]))
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return string(b), err
	},
	"cat": func(a []string, _ string) (string, error) {
		b, err := os.ReadFile(a[0])
		return string(b), err
	},
	// grep PATTERN FILE: what matches, a match a line.
	"grep": func(a []string, _ string) (string, error) {
		b, err := os.ReadFile(a[1])
		return strings.Join(append(regexp.MustCompile(a[0]).FindAllString(string(b), -1), ""), "\n"), err
	},
	"cp": func(a []string, _ string) (string, error) {
		if st, err := os.Stat(a[0]); err == nil && st.IsDir() {
			return "", os.CopyFS(a[1], os.DirFS(a[0]))
		}
		b, err := os.ReadFile(a[0])
		if err != nil {
			return "", err
		}
		return "", os.WriteFile(a[1], b, 0o644)
	},
	"rm":    func(a []string, _ string) (string, error) { return "", os.RemoveAll(a[0]) },
	"mkdir": func(a []string, _ string) (string, error) { return "", os.MkdirAll(a[0], 0o755) },
	// cut N FILE: keep the first N bytes.
	"cut": func(a []string, _ string) (string, error) {
		var n int64
		fmt.Sscan(a[0], &n)
		return "", os.Truncate(a[1], n)
	},
	// ls DIR: names, sorted.
	"ls": func(a []string, _ string) (string, error) {
		entries, err := os.ReadDir(a[0])
		var out string
		for _, e := range entries {
			out += e.Name() + "\n"
		}
		return out, err
	},
	// same A B: two files have the same bytes.
	"same": func(a []string, _ string) (string, error) {
		x, err := os.ReadFile(a[0])
		if err != nil {
			return "", err
		}
		y, err := os.ReadFile(a[1])
		if err == nil && string(x) != string(y) {
			err = fmt.Errorf("%s and %s differ", a[0], a[1])
		}
		return "", err
	},
}

func rewrite(file string, change func([]byte) ([]byte, error)) error {
	b, err := os.ReadFile(file)
	if err == nil {
		b, err = change(b)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// TestHelp freezes the help of every verb: a flag that scripts rely on does not vanish unseen.
func TestHelp(t *testing.T) {
	verbs := []string{""}
	for _, leaf := range programNode(t).Leaves(true) {
		verbs = append(verbs, leaf.Path())
	}
	for _, verb := range verbs {
		args, name := []string{"--help"}, "zerosearch"
		if verb != "" {
			args, name = append([]string{"help"}, strings.Fields(verb)...), strings.ReplaceAll(verb, " ", "_")
		}
		code, out, stderr := zs("", args...)
		require.Zero(t, code)
		require.Empty(t, stderr)
		file := filepath.Join("testdata", "help", name+".txt")
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, []byte(out), 0o644))
			continue
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), out,
			"the help of %s has changed: go test ./cmd/zerosearch -run TestHelp -update", name)
	}
}
