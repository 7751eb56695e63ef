package demo

// tags are single tokens of the demo's vocabulary. Their ids are their indices; <eos> is id 0. They are not special
// tokens, except <eos>, because decoding would leave those out of the policy's text.
var tags = []string{"<eos>", "<think>", "</think>", "<search>", "</search>", "<information>", "</information>",
	"<answer>", "</answer>"}

// vocabulary is the tokenizer.json of the embedded models: 900 tokens, of which each name is one. tokenizer.Train made
// it of all names and of texts of the recipe without names. The recipe does not make it again, because every change of
// its texts would change merges and ids.
func vocabulary() ([]byte, error) { return embedded.ReadFile("models/policy/tokenizer.json") }
