package jsongrammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// compile is the grammar of a schema and what another library makes of it.
func compile(t testing.TB, schema string) (*Grammar, *jsonschema.Schema) {
	g, err := Compile([]byte(schema))
	require.NoError(t, err, schema)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return g, s
}

// accepts reports whether a text is complete in g.
func accepts(g *Grammar, text string) bool {
	m := g.Match(NewVocabulary(0, nil))
	may, _ := m.Complete()
	return m.Advance([]byte(text)) && func() bool { may, _ = m.Complete(); return may }()
}

// valid reports whether a text is JSON that satisfies a schema.
func valid(s *jsonschema.Schema, text string) bool {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	return err == nil && s.Validate(v) == nil
}

const person = `{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"Person","type":"object","properties":{
 "name":{"type":"string","minLength":1,"maxLength":8},"name2":{"type":["string","null"]},
 "age":{"type":"integer","minimum":0,"exclusiveMaximum":130},"tags":{"type":"array","items":{"enum":["a","b\n","é\"x"]},"maxItems":3},
 "home":{"$ref":"#/$defs/place"}},"required":["name","age"],"additionalProperties":false,
 "$defs":{"place":{"type":"object","properties":{"city":{"type":"string"},"next":{"anyOf":[{"$ref":"#/$defs/place"},{"type":"null"}]}},
 "required":["city","next"]}}}`

// schemas cover the keywords. properties without additionalProperties have false here, or the other library would take
// more.
var schemas = []string{
	`{"type":"object"}`,
	`{"type":"string"}`, `{"type":"string","maxLength":3}`, `{"type":"string","minLength":2,"maxLength":2}`, `{"minLength":1,"type":"string"}`,
	`{"type":"integer"}`, `{"type":"number"}`, `{"type":"boolean"}`, `{"type":"null"}`, `{"type":["integer","null","string"]}`,
	`{"type":"integer","minimum":-12,"maximum":7}`, `{"type":"integer","minimum":95}`, `{"type":"integer","maximum":-3}`,
	`{"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":1001}`, `{"type":"integer","minimum":0.5,"maximum":1.5}`,
	`{"type":"array","items":{"type":"integer"}}`, `{"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":2}`,
	`{"type":"array","prefixItems":[{"type":"integer"},{"const":"x"}],"items":{"type":"null"},"minItems":1}`,
	`{"type":"array","prefixItems":[{"type":"integer"},{"const":"x"}],"items":false}`,
	`{"type":"array","items":{"type":"array","items":{"enum":[1,2.5,null,true,"q",{"a":[1,"x"]},[]]}}}`,
	`{"type":"object","properties":{"a":{"type":"integer"},"ab":{"type":"boolean"},"":{"const":null}},"additionalProperties":false}`,
	`{"type":"object","properties":{"a":{"type":"integer"},"\u0001":{"type":"integer"}},"additionalProperties":{"type":"string"},"required":["z"]}`,
	`{"type":"object","additionalProperties":{"type":"integer"}}`,
	`{"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["k","x"],"additionalProperties":false},
	  {"type":"object","properties":{"k":{"enum":["b","c"]}},"required":["k"],"additionalProperties":false},{"type":"string"}]}`,
	`{"allOf":[{"enum":["one","two",1]}]}`, `{"type":"string","enum":["one","two",1]}`, `true`, `{}`,
	`{"anyOf":[{"type":"string","maxLength":2},{"const":"abcd"},{"type":"number"},{"type":"object","properties":{"x":false,"y":{}},"additionalProperties":false}]}`,
	person,
}

// vocabulary has all bytes and tokens of several: as they occur in JSON, across its parts, and parts of characters.
func vocabulary() *Vocabulary {
	list := []string{"", `{"`, `":`, `": "`, `",`, `", "`, `"}`, `"}]`, `}}`, "\n  ", "    ", `[]`, `{}`, `true`, `false`, `null`,
		`nul`, `na`, `name`, `name2`, `"name"`, `age`, `1`, `12`, `130`, `0.5`, `e1`, `-`, `-1`, `, `, ` "`, `\n`, `\u`, `\ud83d\ude00`,
		`é`, "\xc3", "\xa9\"", "😀", `abc`, `ab`, `city`, `":"x","next":null}`, `k":"a`, `"]`, `],`, `}`, `abcd"`, `q"`, `"x"`}
	for b := range 256 {
		list = append(list, string([]byte{byte(b)}))
	}
	return NewVocabulary(len(list), func(id int32) []byte { return []byte(list[id]) })
}

func tokensOf(v *Vocabulary) map[int32]string {
	all := map[int32]string{}
	for _, t := range v.tokens.list {
		all[t.id] = t.bytes
	}
	return all
}

// Whatever tokens are drawn of those that the mask allows, the text can be completed, and then parses and satisfies the
// schema. The mask is what stepping over every token gives.
func TestEveryOutputSatisfiesTheSchema(t *testing.T) {
	v := vocabulary()
	texts := tokensOf(v)
	for i, schema := range schemas {
		g, s := compile(t, schema)
		complete := 0
		for seed := range uint64(30) {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			m := g.Match(v)
			var out bytes.Buffer
			for n := 0; n < 4000; n++ {
				const end = 0 // an id without bytes
				allowed := bytesOf(v.size, true)
				m.Allow(allowed, []int32{end})
				if seed < 2 && n < 40 { // by brute force
					for id, text := range texts {
						probe := &Matcher{g: g, v: v, stacks: append([]*frame(nil), m.stacks...)}
						require.Equal(t, probe.Advance([]byte(text)), allowed[id], "%s: %q after %q", schema, text, out.String())
					}
				}
				may, must := m.Complete()
				require.Equal(t, may, allowed[end])
				var ids []int32
				for id, ok := range allowed {
					if ok && id != end {
						ids = append(ids, int32(id))
					}
				}
				require.False(t, must && (!may || len(ids) > 0))
				require.True(t, may || len(ids) > 0, "%s: dead end after %q", schema, out.String())
				if may && (len(ids) == 0 || r.IntN(4) == 0) {
					complete++
					require.True(t, json.Valid(out.Bytes()), "%s: %q", schema, out.String())
					require.True(t, valid(s, out.String()), "%s: %q", schema, out.String())
					break
				}
				id := ids[r.IntN(len(ids))]
				if n > 40 { // what closes, where it may
					for _, x := range ids {
						if text := texts[x]; strings.ContainsAny(text[:1], `"}]`) && len(text) == 1 {
							id = x
							if text != `"` || r.IntN(2) == 0 {
								break
							}
						}
					}
				}
				out.WriteString(texts[id])
				require.True(t, m.Advance([]byte(texts[id])))
			}
		}
		if !strings.Contains(schema, `"z"`) { // a key that is rarely drawn
			require.Greater(t, complete, 5, schema)
		}
	}
}

func bytesOf(n int, x bool) []bool {
	all := make([]bool, n)
	for i := range all {
		all[i] = x
	}
	return all
}

// random is a random JSON value that is likely to satisfy one of the schemas.
func random(r *rand.Rand, depth int) any {
	words := []string{"", "a", "ab", "abc", "abcd", "b\n", "é\"x", "x", "q", "one", "two", "c", "name", "😀", "\u0001", "/"}
	keys := []string{"a", "ab", "", "k", "x", "y", "z", "name", "name2", "age", "tags", "home", "city", "next", "\u0001"}
	switch n := r.IntN(10); {
	case n < 3 || depth > 3 && n > 6:
		return words[r.IntN(len(words))]
	case n < 5:
		return []any{nil, true, false}[r.IntN(3)]
	case n < 7:
		return []any{0, 1, -1, 7, -12, -13, 8, 10, 95, 129, 130, 1000, 1001, -3, 2.5, 1e21, -4000}[r.IntN(17)]
	case n < 8:
		all := []any{}
		for range r.IntN(4) {
			all = append(all, random(r, depth+1))
		}
		return all
	}
	all := map[string]any{}
	for range r.IntN(5) {
		all[keys[r.IntN(len(keys))]] = random(r, depth+1)
	}
	return all
}

// A value satisfies a schema exactly if its text is accepted, compact and indented.
func TestValuesOfTheSchemaAreAccepted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var values []any
	for range 2500 {
		values = append(values, random(r, 0))
	}
	for i := range 300 {
		place := map[string]any{"city": random(r, 9), "next": nil}
		for range i % 3 {
			place = map[string]any{"city": "x", "next": place}
		}
		values = append(values, map[string]any{"name": []any{"x", "", "abcdefgh", "abcdefghi", "😀😀😀😀😀😀😀😀"}[r.IntN(5)],
			"age": r.IntN(140) - 5, "home": place}, []any{r.IntN(9), "x", nil}, map[string]any{"k": "a", "x": r.IntN(3)},
			map[string]any{"z": "x", "b": "y", "a": 1, "\u0001": 2})
	}
	for _, schema := range schemas {
		g, s := compile(t, schema)
		taken, refused := 0, 0
		for _, x := range values {
			var out bytes.Buffer
			e := json.NewEncoder(&out)
			e.SetEscapeHTML(false)
			require.NoError(t, e.Encode(x))
			text := strings.ReplaceAll(strings.TrimSuffix(out.String(), "\n"), "1e+21", "1000000000000000000000")
			want := valid(s, text)
			require.Equal(t, want, accepts(g, text), "%s: %s", schema, text)
			if want {
				taken++
				var indented bytes.Buffer
				require.NoError(t, json.Indent(&indented, []byte(text), "", "   "))
				require.True(t, accepts(g, "\n "+indented.String()), "%s: %s", schema, indented.String())
			} else {
				refused++
			}
		}
		require.Greater(t, taken, 5, schema)
		if schema != "true" && schema != "{}" {
			require.Greater(t, refused, 100, schema)
		}
	}
}

// What JSON has ways to spell is taken in each; what is no JSON is not.
func TestSpellings(t *testing.T) {
	any, _ := compile(t, `true`)
	for _, text := range []string{`"\u00e9\uD83D\ude00\b\/\\"`, `"\ud7ff\ue000"`, "\"é€😀\"", `-0`, `-0.0e-07`, `1E+5`, `0.10`,
		"[\t1 ,\r\n2 ]", `{"a" :1 , "a":{}}`, `[[],[{}]]`, `{"\u0061\/":1}`, " 7"} {
		require.True(t, json.Valid([]byte(text)), text)
		require.True(t, accepts(any, text), text)
	}
	for _, text := range []string{`"\ud83d"`, `"\ud83d\n"`, `"\ud83dx"`, `"\udc00"`, `"\x"`, "\"\x01\"", "\"\xff\"", "\"\xc0\xaf\"",
		"\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe0\x80\x80\"", "\"\xf0\x80\x80\x80\"", "\"\xc3\"", `01`, `+1`, `.5`, `1.`, `1e`, `1e+`, `--1`,
		`1e100`, `tru`, `truex`, `[1,]`, `[,1]`, `{"a":}`, `{"a"}`, `{,}`, `{"a":1,}`, `{a:1}`, ``, ` `, `1 `, `{} `, `[1 2]`, `'a'`,
		"[" + strings.Repeat(" ", MaxSpace+1) + "]"} {
		require.False(t, accepts(any, text), text)
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	require.True(t, accepts(any, deep(MaxDepth)))
	require.False(t, accepts(any, deep(MaxDepth+1)))

	object := AnyObject()
	require.True(t, accepts(object, ` {"a":[1]}`))
	for _, text := range []string{`[]`, `1`, `"a"`} {
		require.False(t, accepts(object, text))
	}
	choices := Choices([]string{"yes", "yesterday", "no"})
	for text, want := range map[string]bool{"yes": true, "yesterday": true, "no": true, "ye": false, " yes": false, "nope": false, "": false} {
		require.Equal(t, want, accepts(choices, text), text)
	}
}

// Schemas that are not supported, wrong or empty are errors that name the place.
func TestSchemasThatAreRefused(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"object","properties":{"a":{"type":"string","pattern":"x"}}}`: `the keyword "pattern" at #/properties/a is not supported`,
		`{"type":"string","format":"date"}`:                                    `the keyword "format" at # is not supported`,
		`{"not":{}}`:                                                           `"not"`,
		`[]`:                                                                   "# is no schema",
		`7`:                                                                    "# is no schema",
		`{"type":"text"}`:                                                      `type at # is "text": the types are`,
		`{"type":[]}`:                                                          "type at # must be",
		`{"type":"number","minimum":0}`:                                        "minimum at # is not supported for numbers",
		`{"type":"integer","minimum":3,"maximum":2}`:       "no integer lies between",
		`{"type":"integer","minimum":1e300}`:               "between -2^53 and 2^53",
		`{"type":"string","minLength":3,"maxLength":2}`:    "minLength at # is more than maxLength",
		`{"type":"string","maxLength":-1}`:                 "maxLength at # must be an integer",
		`{"type":"string","maxLength":"x"}`:                "maxLength at # must be an integer",
		`{"type":"array","prefixItems":[{}],"minItems":2}`: "minItems at # is more than there are prefixItems",
		`{"type":"array","prefixItems":{}}`:                "prefixItems at # must be a list",
		`{"properties":[]}`:                                "properties at # must be an object",
		`{"type":"object","required":"a"}`:                 "required at # must be a list",
		`{"$ref":"http://x"}`:                              "$ref at # must begin with #",
		`{"$ref":"#/$defs/a"}`:                             "names #/$defs/a, which the schema does not have",
		`{"$ref":"#"}`:                                     "refers to itself",
		`{"anyOf":[{"$ref":"#"},{"type":"null"}]}`:         "refers to itself",
		`{"$ref":"#/$defs/a","type":"null"}`:               "$ref at # has type beside it",
		`{"anyOf":[{}],"properties":{}}`:                   "anyOf at # has properties beside it",
		`{"allOf":[{},{}]}`:                                "allOf at # has 2 schemas",
		`{"anyOf":[]}`:                                     "anyOf at # must be a list",
		`{"oneOf":[{"type":"integer"},{"type":"number"}]}`: "may satisfy both option 0 and option 1",
		`{"oneOf":[{"type":"object","properties":{"a":{"const":1}}},{"type":"object","properties":{"a":{"const":2}}}]}`: "both option",
		`{"type":"string","enum":[1,2]}`: "enum at # has no value of the type",
		`{"enum":{}}`:                    "enum at # must be a list",
		`false`:                          "no value",
		`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`: "no value",
		`{"type":"object","required":["a"],"additionalProperties":false}`:    "no value",
		`{"type":"array","items":false,"minItems":1}`:                        "no value",
	} {
		_, err := Compile([]byte(schema))
		require.ErrorContains(t, err, want, schema)
	}
	_, err := Compile([]byte(`{"type":"array","items":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}`))
	require.NoError(t, err, "a list between")
}

// The mask of a place is made once, also by several goroutines.
func TestManyMatchers(t *testing.T) {
	g, _ := compile(t, person)
	v := vocabulary()
	done := make(chan error, 4)
	for range 4 {
		go func() {
			m := g.Match(v)
			for _, b := range []byte(`{"name":"Ada","age":36,"tags":["a"]}`) {
				allowed := bytesOf(v.size, true)
				m.Allow(allowed, nil)
				if !m.Advance([]byte{b}) {
					done <- fmt.Errorf("%q refused", b)
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		require.NoError(t, <-done)
	}
}
