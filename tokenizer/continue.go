package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/zerosearch-go/zerosearch/tokenizer/internal/jinja"
)

// openEnd stands behind the content of a message that is to be continued while it is rendered. Its blank shows whether
// the template trims.
const openEnd = "\uE000continue\uE001 "

var errNoEnd = errors.New("there is no text in the last message to go on with")

// leaveOpen puts openEnd behind the text of the last message and returns that text.
func leaveOpen(messages *jinja.List) (string, error) {
	if len(messages.Items) == 0 {
		return "", errNoEnd
	}
	last, _ := messages.Items[len(messages.Items)-1].(*jinja.Dict)
	key, content := "content", jinja.Value(nil)
	if last != nil {
		content, _ = last.Get(key)
	}
	if parts, ok := content.(*jinja.List); ok { // the last part that has text
		last, key = nil, "text"
		for _, p := range parts.Items {
			if d, ok := p.(*jinja.Dict); ok {
				if text, ok := d.Get(key); ok {
					last, content = d, text
				}
			}
		}
	}
	text, ok := content.(jinja.Text)
	if last == nil || !ok {
		return "", errNoEnd
	}
	open, err := jinja.FromGo(text.String() + openEnd)
	if err != nil {
		return "", err
	}
	last.Set(key, open)
	return text.String(), nil
}

// cutOpen cuts a rendered conversation behind the content of its last message: trailing blanks go too where the
// template trims contents, as in Hugging Face's apply_chat_template(continue_final_message=True).
func cutOpen(m Marked, content string) (Marked, error) {
	end := strings.TrimSpace(openEnd)
	at := strings.LastIndex(m.Text, end)
	if at < 0 || !strings.Contains(m.Text, strings.TrimSpace(content)) {
		return Marked{},
			fmt.Errorf("continuing the last message: the chat template leaves it out, or changes what it says")
	}
	if !strings.HasPrefix(m.Text[at:], openEnd) {
		at = len(strings.TrimRightFunc(m.Text[:at], unicode.IsSpace))
	}
	return m.Slice(0, at), nil
}
