package jinja

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func epoch() time.Time { return time.Date(2024, 7, 4, 15, 6, 7, 8000, time.UTC) }

func render(src string, vars map[string]Value) (string, error) {
	t, err := Parse(src)
	if err != nil {
		return "", err
	}
	text, err := t.Render(vars, epoch)
	return text.String(), err
}

// dictVars makes variables of a JSON object.
func dictVars(t testing.TB, text []byte) map[string]Value {
	v, err := FromJSON(text)
	require.NoError(t, err)
	vars := map[string]Value{}
	for _, k := range v.(*Dict).Keys {
		vars[k], _ = v.(*Dict).Get(k)
	}
	return vars
}

type jinjaCase struct {
	Vars     json.RawMessage
	Template string
	Text     *string
	Error    string
}

func cases(t testing.TB) (vars map[string]Value, list []jinjaCase) {
	f, err := os.Open("testdata/cases.jsonl")
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var c jinjaCase
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		if c.Vars != nil {
			vars = dictVars(t, c.Vars)
			continue
		}
		list = append(list, c)
	}
	require.Greater(t, len(list), 1000)
	return vars, list
}

// Jinja2 3.1.6's own results (testdata/make.py).
func TestAsJinja2(t *testing.T) {
	vars, list := cases(t)
	for _, c := range list {
		got, err := render(c.Template, vars)
		if c.Error != "" {
			if err == nil {
				t.Errorf("%q: %q instead of an error (%s)", c.Template, got, c.Error)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v, want %q", c.Template, err, *c.Text)
		} else if got != *c.Text {
			t.Errorf("%q:\n got %q\nwant %q", c.Template, got, *c.Text)
		}
	}
}

func TestErrorsNameLineAndConstruct(t *testing.T) {
	for src, want := range map[string][]string{
		"a\n{% include 'x' %}":             {"line 2", "include"},
		"a\n\n{{ x|nope }}":                {"line 3", "nope"},
		"{{ nope() }}":                     {"line 1", "nope"},
		"{% for x in y recursive %}":       {"recursive"},
		"\n{{ a.b.c }}":                    {"line 2", `"a" is undefined`},
		"{{ raise_exception('because') }}": {"refuses", "because"},
		"{% if x %}":                       {"endif"},
		strings.Repeat("x", maxTemplate+1): {"bytes"},
		"{{ strftime_now('%Q') }}":         {"%Q"},
		"{% set l.x = 1 %}":                {"namespace"},
		"{{ " + strings.Repeat("(", 1000) + strings.Repeat(")", 1000) + "}}": {"deep"},
		"{{ " + strings.Repeat("not ", 1000) + "x }}":                        {"deep"},
		"{{ " + strings.Repeat("-", 1000) + "1 }}":                           {"deep"},
		strings.Repeat("{% if x %}", 1000):                                   {"deep"},
	} {
		_, err := render(src, nil)
		for _, w := range want {
			require.ErrorContains(t, err, w, "%.40q", src)
		}
	}
}

// What would never end, or fill the memory, is stopped.
func TestHostileTemplates(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	_, err := FromJSON([]byte(deep))
	require.ErrorContains(t, err, "deep")
	for _, src := range []string{
		"{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ " +
			"ns.x|tojson }}",
		"{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = " +
			"[ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
		"{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ " +
			"ns.x|tojson(indent=64) }}",
		"{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
		"{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == " +
			"[ns.x] }}",
		"{{ 'x' * 1000000000000 }}", "{{ 'x' * 9223372036854775807 }}", "{{ range(1000000000)|length }}",
		"{{ range(0, 9223372036854775807, 1)|length }}",
		"{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
		"{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 3 ** 1000 }}",
		"{{ 4611686018427387904 * 4 }}",
		"{% set x = 'ab' * 1000000 %}{{ x.replace('', x) }}", "{% set x = 'ab' * 1000000 %}{{ x.replace('a', x) }}",
		"{% set x = 'a ' * 100000 %}{{ x.join(x) }}",
	} {
		start := time.Now()
		_, err := render(src, nil)
		require.Error(t, err, src)
		require.Less(t, time.Since(start), time.Minute, src)
	}
	for _, src := range []string{"{{ ('a ' * 300000).rsplit(none, 1000000)|length }}",
		"{{ ('ab' * 300000).split('a', 200000)|length }}",
		"{{ range(9223372036854775800, 9223372036854775807, 5)|list }}",
		"{{ 'abc'[::9223372036854775807] }}{{ 'abc'[9223372036854775807:-9223372036854775807:-9223372036854775807] }}"} {
		_, err := render(src, nil)
		require.NoError(t, err, src)
	}
}

// A rendering leaves what it was given as it was.
func TestInputIsNotChanged(t *testing.T) {
	vars, list := cases(t)
	before, err := render("{{ d }}{{ l }}{{ ms }}{{ nested }}", vars)
	require.NoError(t, err)
	n := len(vars)
	for _, c := range list {
		_, _ = render(c.Template, vars)
	}
	after, err := render("{{ d }}{{ l }}{{ ms }}{{ nested }}", vars)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Len(t, vars, n)
}

func TestStrftime(t *testing.T) {
	got, err := render("{{ strftime_now('%d %b %Y|%-d %B %y|%H:%M:%S %I%p|%A %a %j %u %w %f %%') }}", nil)
	require.NoError(t, err)
	require.Equal(t, "04 Jul 2024|4 July 24|15:06:07 03PM|Thursday Thu 186 4 4 000008 %", got)
}

func TestFromGo(t *testing.T) {
	for _, v := range []any{nil, true, 1, int8(2), 2.5, "x", []string{"a"}, map[string]any{"b": 1, "a": []int{1}},
		json.RawMessage(`{"z":1,"a":2}`)} {
		got, err := FromGo(v)
		require.NoError(t, err)
		want, err := json.Marshal(v)
		require.NoError(t, err)
		text, err := render("{{ v|tojson(separators=(',',':')) }}", map[string]Value{"v": got})
		require.NoError(t, err)
		require.Equal(t, string(want), text)
	}
	_, err := FromGo(func() {})
	require.Error(t, err)
}

func FuzzTemplate(f *testing.F) {
	vars, list := cases(f)
	for _, c := range list {
		f.Add(c.Template)
	}
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse(src)
		if err != nil {
			return
		}
		first, err1 := tmpl.Render(vars, epoch)
		second, err2 := tmpl.Render(vars, epoch)
		require.Equal(t, first, second)
		require.Equal(t, err1 == nil, err2 == nil)
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, 2.5, "x\u00e9", null, true], "b": {"c": 12345678901234567890}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := FromJSON(text)
		if err != nil {
			return
		}
		out, err := render("{{ v|tojson }}", map[string]Value{"v": v})
		require.NoError(t, err)
		again, err := FromJSON([]byte(out))
		if strings.Contains(out, "Infinity") { // as Python writes it, which is no JSON
			return
		}
		require.NoError(t, err, out)
		require.Equal(t, v, again)
	})
}
