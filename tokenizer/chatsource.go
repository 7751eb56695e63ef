package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// chatSource has the texts of a model's chat templates by name, and the special tokens that they may use.
type chatSource struct {
	named   map[string]string
	special map[string]string // bos_token ... -> text
	bad     error             // the error of reading the folder's templates
}

const (
	defaultTemplate = "default"
	toolTemplate    = "tool_use" // for conversations with tools
)

// load reads the templates of the folder dir from the first of these that exists: chat_template.jinja and
// additional_chat_templates/NAME.jinja; chat_template in tokenizer_config.json, which is a string, a list of names and
// templates, or an object; the older chat_template.json. Errors are kept until a template is used, because text can be
// encoded without one.
func (s *chatSource) load(dir string, config json.RawMessage) {
	s.named, s.bad = readTemplates(dir, config)
}

func readTemplates(dir string, config json.RawMessage) (map[string]string, error) {
	named := map[string]string{}
	files := map[string]string{defaultTemplate: "chat_template.jinja"}
	const more = "additional_chat_templates"
	entries, err := os.ReadDir(filepath.Join(dir, more))
	if err != nil {
		entries = nil // most models have none
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".jinja"); ok {
			files[name] = filepath.Join(more, e.Name())
		}
	}
	for name, file := range files {
		text, err := readFile(filepath.Join(dir, file))
		switch {
		case err == nil:
			named[name] = string(text)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("reading chat template: %w", err)
		}
	}
	if len(named) > 0 {
		return named, nil
	}
	path := filepath.Join(dir, "tokenizer_config.json")
	if config == nil {
		path = filepath.Join(dir, "chat_template.json")
		list, err := readObject(path)
		if err != nil {
			return nil, fmt.Errorf("reading chat template: %w", err)
		}
		if config = newArguments(list).get("chat_template"); config == nil {
			return nil, nil
		}
	}
	if named, err = templatesOf(config); err != nil {
		return nil, fmt.Errorf("reading %s: chat_template %w", path, err)
	}
	return named, nil
}

// templatesOf reads the value of chat_template.
func templatesOf(raw json.RawMessage) (map[string]string, error) {
	named := map[string]string{}
	switch kind := kindOf(raw); kind {
	case "text":
		var text string
		err := pyjson.Unmarshal(raw, &text)
		named[defaultTemplate] = text
		return named, err
	case "an object":
		if err := pyjson.Unmarshal(raw, &named); err != nil {
			return nil, errors.New("is an object whose values are not all text: it should be {NAME: TEMPLATE}")
		}
	case "a list":
		var list []struct{ Name, Template *string }
		if err := pyjson.Unmarshal(raw, &list); err != nil {
			return nil, errors.New(`is a list whose entries are not all {"name": TEXT, "template": TEXT}`)
		}
		for _, n := range list {
			if n.Name == nil || n.Template == nil {
				return nil, errors.New(`is a list whose entries do not all have "name" and "template"`)
			}
			named[*n.Name] = *n.Template
		}
	default:
		return nil, fmt.Errorf("is %s: it should be text, a list of names and texts, or an object", kind)
	}
	return named, nil
}
