package rollout

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Prompter turns a question into the ids that an episode begins with.
type Prompter struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template
	MaxTokens int // longer prompts are an error; 0: no limit
	// Message is what the user says for a question; nil: ZeroSearch's prompt.
	Message func(question string) string
	// History are the messages before the question's, of a conversation.
	History []tokenizer.Message
}

// IDs renders ZeroSearch's policy prompt for q, or the row's own prompt column: messages, or text that is taken as it
// is, special tokens in it included, as a text prompt of sft is.
func (p Prompter) IDs(q data.Question) ([]int32, error) {
	if ownPrompt(q) == nil {
		return p.encode(q.ID, user(p.message(q.Question)))
	}
	row := data.Row{N: q.Row, Columns: q.Columns}
	var text string
	if ok, err := row.Get("prompt", &text); ok && err == nil {
		return p.bounded(q.ID, p.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}))
	}
	var own []tokenizer.Message
	if ok, err := row.Get("prompt", &own); !ok || err != nil || len(own) == 0 {
		return nil, fmt.Errorf("question %s: its prompt is neither text nor a list of messages", q.ID)
	}
	for i := range own {
		if err := own[i].JoinParts(); err != nil {
			return nil, fmt.Errorf("question %s: message %d of its prompt: %w", q.ID, i+1, err)
		}
	}
	return p.encode(q.ID, own)
}

// message is what the user says for a question.
func (p Prompter) message(question string) string {
	if p.Message != nil {
		return p.Message(question)
	}
	return episode.Prompt(question)
}

func user(text string) []tokenizer.Message { return []tokenizer.Message{{Role: "user", Content: text}} }

// encode gives the ids of messages.
func (p Prompter) encode(id string, messages []tokenizer.Message) ([]int32, error) {
	ids, err := p.Tokenizer.EncodeChat(p.Template, tokenizer.ChatInput{AddGenerationPrompt: true,
		Messages: append(slices.Clip(p.History), messages...)})
	if err != nil {
		return nil, fmt.Errorf("question %s: %w", id, err)
	}
	return p.bounded(id, ids)
}

// bounded refuses too many ids.
func (p Prompter) bounded(id string, ids []int32) ([]int32, error) {
	if p.MaxTokens > 0 && len(ids) > p.MaxTokens {
		return nil, fmt.Errorf("question %s has a prompt of %d tokens, more than the %d that fit: raise "+
			"--max-start-length and --max-context or filter the question out", id, len(ids), p.MaxTokens)
	}
	return ids, nil
}

// ownPrompt is the row's column prompt, nil where it has none.
func ownPrompt(q data.Question) json.RawMessage {
	if own := q.Columns["prompt"]; string(own) != "null" {
		return own
	}
	return nil
}

// templateBytes bounds what a chat template puts around a prompt.
const templateBytes = 1024

// fits is false of a question whose prompt is too long.
func (p Prompter) fits(q data.Question) bool {
	if p.surelyFits(q) {
		return true
	}
	limit := p.MaxTokens
	p.MaxTokens = 0
	ids, err := p.IDs(q)
	return err != nil || len(ids) <= limit // what else is wrong with it, Check says
}

// surelyFits knows without encoding anything: no text has more tokens than bytes.
func (p Prompter) surelyFits(q data.Question) bool {
	bytes := len(p.message("")) + len(q.Question)
	for _, m := range p.History {
		bytes += len(m.Content) + templateBytes/8
	}
	if own := ownPrompt(q); own != nil {
		bytes = len(own)
	}
	return p.MaxTokens <= 0 || bytes+templateBytes <= p.MaxTokens
}
