package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/harvest"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/sft"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// What sft reads from a row begins with the ids that a simulator is asked with, and the documents are trained on.
func TestHarvestedRowsAskAsSimulatorsAreAsked(t *testing.T) {
	tok, err := tokenizer.Open("../../demo/models/simulator")
	require.NoError(t, err)
	chat := `{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}` +
		`{% if add_generation_prompt %}<assistant>{% endif %}`
	for _, text := range []string{"", chat} {
		var tmpl *tokenizer.Template
		if text != "" {
			tmpl, err = tok.ParseTemplate(text)
			require.NoError(t, err)
		}
		r := harvest.Row{Question: "Where was Velgosh born?", GoldenAnswers: []string{"Brontory"},
			Query:   "Velgosh born",
			Quality: search.Useful, Documents: []string{"Velgosh was born in Brontory.",
				"Kelzosh was born in Balnith."}}
		r.Chat(tmpl == nil)
		line, err := json.Marshal(r)
		require.NoError(t, err)
		var row data.Row
		require.NoError(t, json.Unmarshal(line, &row.Columns))
		coder := sft.Coder{Tokenizer: tok, Template: tmpl, EOS: []int32{0}}
		e, err := coder.Encode(row)
		require.NoError(t, err)

		asked := search.Render(search.SFT, r.Quality, search.Query{Query: r.Query, Question: r.Question,
			GoldenAnswers: r.GoldenAnswers}, 2)
		prompt, err := tok.EncodeChat(tmpl, tokenizer.ChatInput{AddGenerationPrompt: true,
			Messages: []tokenizer.Message{
				{Role: "system"}, {Role: "user", Content: asked}}})
		require.NoError(t, err)
		require.Equal(t, prompt, e.IDs[:len(prompt)])
		require.NotContains(t, e.Mask[:len(prompt)], true)
		require.NotContains(t, e.Mask[len(prompt):], false)
		require.Contains(t, tok.Decode(e.IDs[len(prompt):], false), "Doc 2: Kelzosh")
	}
}
