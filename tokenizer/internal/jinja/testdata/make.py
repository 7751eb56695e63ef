"""Makes cases.jsonl: small templates and what Jinja2 renders them to, set up as Hugging Face's libraries do for chat templates.

pip install jinja2==3.1.6; python make.py (in this folder).
"""
import json, random
from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
    x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise TemplateError(message)


env.globals["raise_exception"] = raise_exception

VARS = {
    "s": "Hello, wörld! it's \"x\"", "empty": "", "sp": " \t pad\u00a0\n", "n": 7, "neg": -3, "f": 2.5, "big": 12345678901234567890, "zero": 0,
    "t": True, "no": None, "l": [3, 1, 2], "ls": ["b", "a", "C"], "d": {"z": 1, "a": [1, 2, {"k": None}], "items": "shadowed"}, "e": [], "ed": {},
    "ms": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "n": 2}, {"role": "user", "content": "Bye"}],
    "floats": [1.0, 1e-05, -0.0, 1e16, 123456789.123, 1e22, 0.1, 5e-324, 1.5e300], "ctl": "a\x00b\x1f\x7f\u2028\n\r\t\b\f\\/", "nested": [[1, [2]], {"a": {"b": "c"}}],
}

EXPRESSIONS = """s ;; n ;; f ;; t ;; no ;; l ;; d ;; undefined_name ;; d.z ;; d['a'][2].k ;; d.items ;; d['items'] ;; d.missing ;; d['missing'] ;; no.x ;; l[0] ;; l[-1] ;;
l[9] ;; s[0] ;; s[-1] ;; s[1:3] ;; s[::-1] ;; l[::-1] ;; l[1:] ;; l[:-1] ;; l[::2] ;; l[5:] ;; s[:0] ;; l[-2:] ;; l[2:0:-1] ;; 1+2*3 ;; 7//2 ;; -7//2 ;;
7%3 ;; -7%3 ;; 7.5%2 ;; 2**3 ;; 2**-1 ;; 2**0.5 ;; 7/2 ;; 6/2 ;; 1-1.5 ;; -n ;; +n ;; - -n ;; not n ;; not no ;; 1 + 2 ~ 'x' ;; 'a' ~ 1 ~ no ~ t ;;
'a' * 3 ;; 3 * 'ab' ;; 'a' * -1 ;; 'x' + 'y' ;; l + [4] ;; 'a' 'b' ;; 1_000 ;; 1e3 ;; 0.5 ;; (1, 2) ;; () ;; (1,) ;; [1, 'a', [none]] ;;
{'a': 1, 'b': [2]} ;; {} ;; true ;; True ;; none ;; None ;; 1 == 1.0 ;; t == 1 ;; 'a' == 'a' ;; l == [3,1,2] ;; d == {'z': 1} ;; no == none ;;
undefined_name == undefined_name2 ;; 1 < 2 < 3 ;; 1 < 3 < 2 ;; 'a' < 'b' ;; [1,2] < [1,3] ;; 1 in l ;; 9 in l ;; 'lo' in s ;; 'z' in d ;; 'q' not in d ;;
'' in '' ;; 2 not in [1] ;; 'x' in undefined_name ;; n and s ;; no or 'dflt' ;; '' or 0 or [] ;; t and no ;; not t or t ;; 'yes' if t else 'no' ;;
'yes' if no ;; ('a' if no else 'b') ~ 'c' ;; 1 if t else 2 if no else 3 ;; s if s is string else '' ;; s is string ;; n is number ;; t is number ;;
t is integer ;; f is float ;; n is integer ;; t is boolean ;; no is none ;; undefined_name is defined ;; s is defined ;; undefined_name is undefined ;;
undefined_name is not defined ;; d is mapping ;; l is mapping ;; l is sequence ;; s is sequence ;; l is iterable ;; d is iterable ;; n is iterable ;;
n is odd ;; n is even ;; n is divisibleby 7 ;; n is divisibleby(2) ;; n is eq 7 ;; n is ne(7) ;; n is gt 3 ;; n is lt 3 ;; n is ge 7 ;; n is le 6 ;;
'a' is in ls ;; t is true ;; t is sameas true ;; no is false ;; 'abc' is lower ;; 'ABC' is upper ;; not undefined_name is defined ;;
1 is eq 1 and 2 is eq 2 ;; s is string and not n is string ;; s|length ;; l|length ;; d|length ;; undefined_name|length ;; sp ;; sp|trim ;; s|trim('H') ;;
s|upper ;; s|lower ;; s|title ;; s|capitalize ;; l|join ;; ls ;; ls|join(', ') ;; ms ;; ms|join('-', attribute='role') ;; l|first ;; l|last ;; e ;;
e|first ;; s|first ;; l|sort ;; ls|sort ;; ls|sort(reverse=true) ;; ms|sort(attribute='content') ;; ls|sort(case_sensitive=true) ;; l|reverse ;;
l|reverse|list ;; s|reverse ;; ls|map('upper') ;; ls|map('upper')|list ;; ms|map(attribute='content') ;; ms|map(attribute='content')|join('|') ;;
ms|selectattr('role', 'equalto', 'user') ;; ms|selectattr('role', 'equalto', 'user')|list ;; ms|selectattr('role', 'equalto', 'user')|list|length ;;
ms|selectattr('n') ;; ms|selectattr('n')|list ;; ms|selectattr('n', 'defined') ;; ms|selectattr('n', 'defined')|list ;;
ms|rejectattr('role', 'eq', 'user') ;; ms|rejectattr('role', 'eq', 'user')|list ;; ms|rejectattr('role', 'eq', 'user')|list|tojson ;; l|select('odd') ;;
l|select('odd')|list ;; l|reject('gt', 2) ;; l|reject('gt', 2)|list ;; l|sum ;; l|min ;; l|max ;; ls|max ;; [1,1,2] ;; [1,1,2]|unique ;;
[1,1,2]|unique|list ;; ['a','A','b'] ;; ['a','A','b']|unique ;; ['a','A','b']|unique|list ;; no|default('x') ;; undefined_name|default('x') ;;
undefined_name|default ;; '' ;; ''|default('x', true) ;; d('x') ;; '5' ;; '5'|int ;; 'x' ;; 'x'|int ;; 'x'|int(3) ;; '2.9' ;; '2.9'|int ;; f|int ;; '2.5' ;;
'2.5'|float ;; 'x'|float ;; n|float ;; t|int ;; f|round ;; 2.567 ;; 2.567|round(2) ;; 2.1 ;; 2.1|round(0, 'ceil') ;; 7 ;; 7|round ;; neg ;; neg|abs ;;
s|replace('l', 'L') ;; s|replace('l', 'L', 1) ;; 'a\\nb\\n\\nc' ;; 'a\\nb\\n\\nc'|indent ;; 'a\\nb\\n\\nc'|indent(2, true) ;; 'a\\nb' ;;
'a\\nb'|indent('> ') ;; d|items ;; d|items|list ;; d|dictsort ;; d|dictsort|list ;; ed ;; ed|items ;; ed|items|list ;; undefined_name|items ;;
undefined_name|items|list ;; '<a href="x">&\\'' ;; '<a href="x">&\\''|escape ;; '<b>' ;; '<b>'|safe ;; n|string ;; no|string ;; l|string ;; d|list ;;
s|list ;; s|list|length ;; s|tojson ;; d|tojson ;; l|tojson ;; floats ;; floats|tojson ;; big ;; big|tojson ;; ctl ;; ctl|tojson ;; no|tojson ;; t|tojson ;;
nested ;; nested|tojson ;; nested|tojson(indent=2) ;; d|tojson(indent=4) ;; e|tojson(indent=4) ;; ed|tojson(indent=4) ;; [e, ed] ;;
[e, ed]|tojson(indent=4) ;; d|tojson(sort_keys=true) ;; d|tojson(separators=(',', ':')) ;; 'ü☃🙂' ;; 'ü☃🙂'|tojson(ensure_ascii=true) ;;
undefined_name|tojson ;; f|tojson ;; (1, 2)|tojson ;; [ctl] ;; ["it's", '"q"', 'both \\' "', 'tab\\t'] ;; s.upper() ;; s.split() ;; s.split(', ') ;;
s.split('l', 1) ;; s.rsplit('l', 1) ;; s.rsplit(none, 1) ;; s.split(none, 1) ;; '  a  b '.split() ;; ' a b c '.rsplit(none, 1) ;; 'a,b,,c'.split(',') ;;
''.split(',') ;; ''.split() ;; sp.strip() ;; sp.lstrip() ;; sp.rstrip() ;; 'xxaxx'.strip('x') ;; 'xyaxy'.lstrip('yx') ;; 'abc'.rstrip('cb') ;;
s.startswith('He') ;; s.startswith(('x', 'He')) ;; s.endswith('"') ;; s.replace('l', '') ;; s.replace('l', 'r', 1) ;; s.find('w') ;; s.find('zz') ;;
s.count('l') ;; ', '.join(ls) ;; '-'.join('abc') ;; 'a\\nb\\r\\nc'.splitlines() ;; '12'.isdigit() ;; 'a1'.isalpha() ;; s.title() ;; 'hELLO'.capitalize() ;;
'abc'.removeprefix('a') ;; 'abc'.removesuffix('c') ;; d.keys() ;; d.keys()|list ;; d.values() ;; d.values()|list ;; d.get('z') ;; d.get('q') ;;
d.get('q', 5) ;; ed.get('q') is none ;; range(3) ;; range(3)|list ;; range(1, 7, 2) ;; range(1, 7, 2)|list ;; range(3, 0, -1) ;; range(3, 0, -1)|list ;;
range(0) ;; range(0)|list ;; dict(a=1, b='x') ;; namespace(a=1).a ;; s.nope ;; s.nope() ;; undefined_name.x ;; undefined_name() ;; undefined_name + 'x' ;;
'x' + undefined_name ;; 'x' + 1 ;; no + 'x' ;; 1 + none ;; l.append(1) ;; d.update({}) ;; 'a' < 1 ;; none < 1 ;; no|length ;; n|length ;; 5 ;;
5|join ;; 1/0 ;; 1//0 ;; 5 % 0 ;; l['a'] ;; d[0] ;; nope ;; s is nope ;; raise_exception('stop') ;; 'a' in 5 ;; 3 in 'abc' ;; [3] in [[3]] ;;
'\\x41\\u00e9\\n\\t\\\\ \\' \\q \\101' ;; "dq 'in'" ;; '{{ x }}'"""

TEMPLATES = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }},{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
    "{% for x in e %}x{% else %}none{% endfor %}", "{% for x in l if x > 1 %}{{ x }}{{ loop.last }}{% else %}none{% endfor %}", "{% for x in l if x > 5 %}{{ x }}{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|items %}{{ k }};{% endfor %}", "{% for k in d %}{{ k }};{% endfor %}", "{% for c in 'añb' %}[{{ c }}]{% endfor %}",
    "{% for a, b in [[1, 2], (3, 4)] %}{{ a + b }} {% endfor %}", "{% for a, b in l %}{% endfor %}", "{% for x in n %}{% endfor %}", "{% for x in undefined_name %}x{% else %}-{% endfor %}", "{% for x in no %}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% if no %}{% set y = 1 %}{% else %}{% set y = 2 %}{% endif %}{{ y }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set x %}block {{ n }}{% endset %}[{{ x }}]", "{% set x | upper %}block{% endset %}{{ x }}",
    "{% set d.q = 1 %}", "{% set undefined_name.q = 1 %}", "{{ 1, 2 }}",
    "{% macro m(a, b=2, c='x') %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c='y') }}{{ m(b=5, a=4) }}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(q=2) }}",
    "{% macro fact(k) %}{% if k < 2 %}1{% else %}{{ k * fact(k - 1)|int }}{% endif %}{% endmacro %}{{ fact(6) }}", "{% set g = 5 %}{% macro m() %}{{ g }}{% endmacro %}{{ m() }}{{ m()|length }}{{ m() is string }}",
    "{% macro m(c) %}\n  {%- if c %}\n    {{- c }}\n  {%- endif %}\n{%- endmacro %}[{{ m('z')|trim }}]", "{% if 0 %}a{% elif '' %}b{% elif n %}c{% else %}d{% endif %}", "{% if n == 7 and s %}ok{% endif %}", "{% if not(s.startswith('x') and t) %}ok{% endif %}",
    "a\n{% if t %}\nb\n{% endif %}\nc", "a\n  {% if t %}\n  b\n  {% endif %}\n  c", "a  {% if t %}  b  {% endif %}  c", "a\n  {%- if t -%}\n  b\n  {%- endif -%}\n  c", "a\n  {%+ if t +%}\n  b\n  {%+ endif %}\n  c",
    "a {{ n }}\nb", "a {{- n -}} b", "  {{ n }}\n", "\n\n{{ n }}\n\n", "a\n\n  {# comment #}\n  b", "a {# c #} b", "a {#- c -#} b", "x\n{#\n multi\n line #}\ny", "  {# c #}  \n z", "a {% raw %} {{ x }} {% y %} {% endraw %} b", "a\n  {%- raw -%}  {{ x }}  {%- endraw -%}\n b", "a\n  {% raw %}\n {{ x }}\n  {% endraw %}\n b",
    "a\r\n{% if t %}\r\nb\r{% endif %}", "{{ '}}' }}", "{{ {'a': {'b': 1}}['a'] }}", "{ { n } } %} #} }}", "{%if t%}x{%endif%}", "{% if t %}{% endif %}\n\n\n", "{{ n }}{% if t %}\n{% endif %}\n{{ n }}", "\t{% if t %}a{% endif %}\t{% if t %}b{% endif %}\n", "{% set x = 1 -%}   \n  {{ x }}", "{{ n -}}  \n\n  {% if t %} \n a{% endif %}",
    "{% for m in ms %}{{ '<|' + m.role + '|>' + m['content'] | trim + '\\n' }}{% endfor %}{% if t %}{{ '<|a|>' }}{% endif %}", "{% for m in ms[::-1] %}{% set i = (ms|length - 1) - loop.index0 %}{{ i }}{{ m.role }} {% endfor %}", "{% for m in ms %}{% if loop.first or ms[loop.index0 - 1].role != m.role %}{{ m.role }}{% endif %}{% endfor %}",
    "{% if ms[0]['role'] == 'system' %}{% set sys = ms[0] %}{% endif %}{{ sys is defined }}", "{% set ms = ms[1:] %}{{ ms|length }}{{ ms[0].role }}", "{% for x in l %}{% for y in l %}{{ loop.depth }}{{ x * y }} {% endfor %}{% endfor %}", "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% if 'n' in ms[1] and 'n' not in ms[0] %}yes{% endif %}", "{{ raise_exception('no ' ~ n) }}", "{% for x in l %}{% set outer = x %}{% endfor %}{{ outer is defined }}", "{{ s }}{{ no }}{{ t }}{{ undefined_name }}|", "{% set x = {'a': 1} %}{{ x['a'] }}{{ x.b is defined }}",
    "{% for k in ({'b': 1, 'a': 2}) %}{{ k }}{% endfor %}", "{% if a is defined and a is not none %}x{% else %}y{% endif %}", "{% set tools = tools if tools is defined else none %}{{ tools }}", "{{ ms | tojson(indent=4) }}", "{% for x in l recursive_not %}{% endfor %}", "{% if %}", "{{ }}", "{% for %}", "{{ n ", "{% if t %}", "{% endif %}", "{{ 'x }}", "{% set %}", "{{ n n }}", "{{ (n }}", "{{ n) }}", "{{ [1, }}", "{# open", "{% raw %}x", "{{ n | }}", "{{ n. }}", "{{ 1 + }}", "{% unknown %}", "{{ a b }}", "{{ f(x=1, 2) }}", "{{ @ }}", "{{ n ! }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% else %}",
]


def render(src):
    try:
        text = env.from_string(src).render(**VARS)
        return {"text": text} if " at 0x" not in text and not text.startswith(("dict_", "range(")) else None  # how Python prints iterators
    except Exception as x:
        return {"error": type(x).__name__}


def generated():
    """Random combinations of data, tags and white space control."""
    r = random.Random(7)
    tags = ["{%S if t E%}", "{%S endif E%}", "{{S n E}}", "{#S c E#}", "{%S for x in l E%}", "{%S endfor E%}", "{%S set y = 1 E%}", "{%S raw E%}", "{%S endraw E%}", "{%S else E%}"]
    data = ["a", " ", "\n", "  ", "\n  ", "b\n", "\t", "\n\n", ""]
    for _ in range(3000):
        src, stack = "", []
        for _ in range(r.randint(2, 9)):
            src += r.choice(data) + r.choice(data)
            t = r.choice(tags)
            name = t.split()[1]
            if stack and stack[-1] == "raw" and name != "endraw":
                continue
            if name in ("endif", "endfor", "endraw") and (not stack or stack[-1] != name[3:]):
                continue
            if name == "else" and (not stack or stack[-1] != "if"):
                continue
            if name.startswith("end"):
                stack.pop()
            elif name in ("if", "for", "raw"):
                stack.append(name)
            elif name == "else":
                stack[-1] = "if "
            end = r.choice(["", "", "-"]) if t.startswith("{{") or name == "raw" else r.choice(["", "", "-", "+"])
            start = r.choice(["", "", "-"]) if t.startswith("{{") else r.choice(["", "", "-", "+"])
            src += t.replace("S ", start + " ").replace(" E", " " + end)
        while stack:
            src += r.choice(data) + "{%" + r.choice(["", "-"]) + " end" + stack.pop().strip() + " %}" + r.choice(data)
        yield src


with open("cases.jsonl", "w") as f:
    f.write(json.dumps({"vars": VARS}) + "\n")
    count = 0
    for src in ["{{ " + x.strip() + " }}" for x in EXPRESSIONS.split(";;")] + TEMPLATES:
        result = render(src)
        if result:
            f.write(json.dumps({"template": src, **result}) + "\n")
            count += 1
    kept = 0
    for src in dict.fromkeys(generated()):
        if kept < 600 and "error" not in render(src):
            f.write(json.dumps({"template": src, **render(src)}) + "\n")
            kept += 1
print(count, kept)
