package serve

import (
	"encoding/json"
	"slices"
	"strings"
)

// restriction says which tokens the answers of a request may have.
type restriction struct {
	param   string // that gave the form; "": any text
	schema  string // JSON of this schema; "": none
	object  bool   // any JSON object
	choices []string
	allowed []int32  // allowed_token_ids; nil: all
	words   []string // bad_words
}

// form notes that a parameter asks for a form; there may be one.
func (r *restriction) form(param string) error {
	if r.param != "" && r.param != param {
		return bad(param, "%s and %s both give the form of the answer: send only one of them", r.param, param)
	}
	r.param = param
	return nil
}

// readResponseFormat reads response_format.
func readResponseFormat(q *query, v value) error {
	all, ok := members(v.raw)
	if !ok {
		return v.wrong(`an object such as {"type": "json_object"}`)
	}
	f := fields(all)
	kind, _ := unquote(f.get("type"))
	known := []string{"type"}
	if kind == "json_schema" {
		known = append(known, kind)
	}
	if err := onlyKnown(all, v.name, known); err != nil {
		return err
	}
	switch kind {
	case "text":
		return nil
	case "json_object":
		q.restriction.object = true
		return q.restriction.form(v.name)
	case "json_schema":
		inner, ok := members(f.get(kind))
		if !ok {
			return bad(v.name+".json_schema", `response_format needs "json_schema": {"name": ..., "schema": {...}}`)
		}
		parts := []string{"name", "description", "schema", "strict"}
		if err := onlyKnown(inner, v.name+".json_schema", parts); err != nil {
			return err
		}
		return q.readSchema(v.name, value{v.name + ".json_schema.schema", fields(inner).get("schema")})
	}
	e := bad(v.name+".type", "response_format.type must be text, json_object or json_schema: others are not supported")
	e.Code = "unsupported_value"
	return e
}

// onlyKnown refuses members of an object that are not known.
func onlyKnown(all []member, of string, known []string) error {
	for _, m := range all {
		if !slices.Contains(known, m.key) {
			e := bad(of+"."+m.key, "unknown parameter %q: %s has %s", of+"."+m.key, of, strings.Join(known, ", "))
			e.Code = "unknown_parameter"
			return e
		}
	}
	return nil
}

// readSchema reads a JSON Schema, or as in vLLM a string that holds one.
func (q *query) readSchema(param string, v value) error {
	raw := v.raw
	if s, ok := unquote(raw); ok {
		if raw = json.RawMessage(s); !json.Valid(raw) {
			return bad(v.name, "%s is a string that holds no JSON", v.name)
		}
		if _, err := document(raw); err != nil {
			return bad(v.name, "%s: %v", v.name, err)
		}
	}
	if len(raw) == 0 || string(raw) == "null" {
		e := bad(v.name, "%s is missing", v.name)
		e.Code = "missing_required_parameter"
		return e
	}
	q.restriction.schema = string(raw)
	return q.restriction.form(param)
}

// readChoice reads a list of texts of which the answer is one.
func (q *query) readChoice(param string, v value) error {
	if kind(v.raw) != "list" || v.texts(&q.restriction.choices) != nil {
		return v.wrong("a list of strings")
	}
	if len(q.restriction.choices) == 0 || slices.Contains(q.restriction.choices, "") {
		return bad(v.name, "%s needs one text at least, and none may be empty", v.name)
	}
	return q.restriction.form(param)
}

// readStructured reads vLLM's structured_outputs.
func readStructured(q *query, v value) error {
	all, ok := members(v.raw)
	if !ok {
		return v.wrong("an object")
	}
	given := 0
	for _, m := range all {
		if string(m.raw) == "null" {
			continue
		}
		given++
		x := value{v.name + "." + m.key, m.raw}
		var err error
		switch m.key {
		case "json":
			err = q.readSchema(v.name, x)
		case "choice":
			err = q.readChoice(v.name, x)
		case "json_object":
			if err = x.bool(&q.restriction.object); err == nil && q.restriction.object {
				err = q.restriction.form(v.name)
			} else if given--; err == nil {
				continue
			}
		default:
			e := bad(x.name, "%s is not supported: structured_outputs takes json, json_object or choice", x.name)
			e.Code = "unsupported_parameter"
			err = e
		}
		if err != nil {
			return err
		}
	}
	if given > 1 {
		return bad(v.name, "%s must have one of json, json_object and choice", v.name)
	}
	return nil
}

// readAllowed reads allowed_token_ids.
func readAllowed(q *query, v value) error {
	if err := v.ids(&q.restriction.allowed); err != nil {
		return err
	}
	if len(q.restriction.allowed) == 0 {
		return bad(v.name, "%s is empty: leave it out to allow all tokens", v.name)
	}
	return nil
}

// readBadWords reads bad_words.
func readBadWords(q *query, v value) error {
	if kind(v.raw) != "list" || v.texts(&q.restriction.words) != nil {
		return v.wrong("a list of strings")
	}
	if slices.Contains(q.restriction.words, "") {
		return bad(v.name, "a bad word is empty")
	}
	return nil
}
