package jinja

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// brackets writes marked text in brackets.
func brackets(t Text) string {
	var b strings.Builder
	inside := false
	for i := range len(t.s) {
		if m := t.mask != "" && t.mask[i] == mark[0]; m != inside {
			b.WriteString(map[bool]string{true: "[", false: "]"}[m])
			inside = m
		}
		b.WriteByte(t.s[i])
	}
	if inside {
		b.WriteByte(']')
	}
	return b.String()
}

// Every operation leaves the marks on what came in with them, and only there.
func TestTaint(t *testing.T) {
	said := map[string]any{"s": " Hé, <x>a</x>\nyou ", "l": []string{"p", "q"},
		"d": map[string]any{"k": "v'", "n": []any{1, nil, "w\n"}}, "e": ""}
	vars := map[string]Value{"own": "o"}
	for k, v := range said {
		x, err := FromGo(v)
		require.NoError(t, err)
		vars[k] = Taint(x)
	}
	for src, want := range map[string]string{
		"<{{ s }}>":                   "<[ Hé, <x>a</x>\nyou ]>",
		"<{{ s|trim }}>":              "<[Hé, <x>a</x>\nyou]>",
		"{{ '-' + s.strip() + own }}": "-[Hé, <x>a</x>\nyou]o",
		"{{ own ~ s.lstrip() ~ 1 }}":  "o[Hé, <x>a</x>\nyou ]1",
		"{{ s.split('</x>')[-1] }}|{{ s.split('<x>', 1)[0] }}":                                 "[\nyou ]|[ Hé, ]",
		"{{ s.rsplit('>', 1)[0] }}":                                                            "[ Hé, <x>a</x]",
		"{{ s.split()|join('+') }}":                                                            "[Hé,]+[<x>a</x>]+[you]",
		"{{ s.rsplit(none, 1)|join('+') }}":                                                    "[ Hé, <x>a</x>]+[you]",
		"{{ s.splitlines()|join('+') }}":                                                       "[ Hé, <x>a</x>]+[you ]",
		"{{ s[1:3] }}|{{ s[::-2] }}|{{ s[2] }}|{{ s[-2] }}":                                    "[Hé]|[ o\nx<><,H]|[é]|[u]",
		"{{ s.replace('a', '(' + own + ')') }}":                                                "[ Hé, <x>](o)[</x>\nyou ]",
		"{{ 'a-b'.replace('-', l[0]) }}|{{ 'ab'.replace('', l[1]) }}":                          "a[p]b|[q]a[q]b[q]",
		"{{ s.removeprefix(' H') }}|{{ s.removesuffix('u ') }}":                                "[é, <x>a</x>\nyou ]|[ Hé, <x>a</x>\nyo]",
		"{{ (own + s)|upper }}|{{ l[0]|title }}|{{ (own + e)|capitalize}}":                     "O[ HÉ, <X>A</X>\nYOU ]|[P]|O",
		"{{ ('ß' + l[0])|escape }}|{{ ('<' + l[0])|e }}":                                       "ß[p]|[&lt;p]",
		"{{ l|join(',') }}{{ l|join(l[0]) }}":                                                  "[p],[qppq]",
		"{{ l }}{{ d }}":                                                                       "['[p]', '[q]']{'[k]': \"[v']\", '[n]': [1, None, '[w]\\n']}",
		"{{ d|tojson }}":                                                                       `{"[k]": "[v']", "[n]": [1, null, "[w]\n"]}`,
		"{{ l|tojson(indent=1) }}":                                                             "[\n \"[p]\",\n \"[q]\"\n]",
		"{{ s|tojson|length }}{{ s|length }}":                                                  "2118",
		"{% for k, v in d.items() %}{{ k }}={{ v if v is string }};{% endfor %}":               "[k]=[v'];[n]=;",
		"{% for k in d %}{{ k }}{% endfor %}{{ d.keys()|list|first }}{{ (d|dictsort)[1][0] }}": "[knkn]",
		"{% for c in l[0] + own %}{{ c }}.{% endfor %}":                                        "[p].o.",
		"{{ l[0] * 2 + own * 2 }}":                                                             "[pp]oo",
		"{% set x %}<{{ l[0] }}>{% endset %}{{ x }}":                                           "<[p]>",
		"{% macro m(a) %}({{ a }}){% endmacro %}{{ m(l[1]) }}":                                 "([q])",
		"{% set ns = namespace(x='') %}{% for a in l %}{% set ns.x = ns.x + a + '-' %}{% endfor %}{{ ns.x }}": "[p]-[q]-",
		"{{ dict(d)|tojson }}{{ {l[0]: 1} }}": `{"[k]": "[v']", "[n]": [1, null, "[w]\n"]}{'[p]': 1}`,
		"{{ s.strip()|indent(2) }}":           "[Hé, <x>a</x>]\n  [you]",
		"{{ 'y' if s.strip().startswith('Hé') and '<x>' in s and l[0] == 'p' and 'k' in d and l[0] < 'q' }}": "y",
		"{{ d[l[0]]|default(l[0]) }}{{ d.get('k') }}{{ l|map('upper')|join }}{{ l|reverse|list }}":           "[pv'PQ]['[q]', '[p]']",
		"{{ s.find('<x>') }}{{ s.count('x') }}{{ '7'|int + 1 }}":                                             "528",
	} {
		tmpl, err := Parse(src)
		require.NoError(t, err, src)
		got, err := tmpl.Render(vars, epoch)
		require.NoError(t, err, src)
		// Lists print brackets of their own, outside of what is marked.
		assert.Equal(t, want, brackets(got), src)
	}
}

// Marks change nothing else: all the cases of Jinja2 give the same text, and without marks none appear.
func TestTaintChangesNoText(t *testing.T) {
	vars, list := cases(t)
	tainted := map[string]Value{}
	for k, v := range vars {
		tainted[k] = Taint(v)
	}
	for _, c := range list {
		tmpl, err := Parse(c.Template)
		if err != nil {
			continue
		}
		plain, err1 := tmpl.Render(vars, epoch)
		got, err2 := tmpl.Render(tainted, epoch)
		require.Equal(t, err1, err2, c.Template)
		require.Equal(t, plain.String(), got.String(), c.Template)
		require.Empty(t, plain.Mask(), c.Template)
		if got.Mask() != "" {
			require.Len(t, got.Mask(), len(got.String()), c.Template)
		}
	}
}
