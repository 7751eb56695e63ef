// Package tokenizer turns text into token ids and back, and conversations into the text a model was trained on.
//
// It reads Hugging Face's tokenizer.json (byte-level BPE as GPT-2, Llama 3, Qwen and SmolLM have it;
// sentencepiece-style BPE with byte fallback as Llama 2 has it) and sentencepiece's tokenizer.model of BPE type:
//
//	tok, err := tokenizer.Open("SmolLM2-135M-Instruct")
//	ids := tok.Encode("Hello world", tokenizer.EncodeOptions{AddSpecial: true})
//	text := tok.Decode(ids, true)
//
// Text goes through the steps of the file: added tokens are found (added.go), the rest is normalised (normalize.go),
// cut into pieces (split.go), and each piece is merged into tokens (bpe.go). Back, tokens are bytes, and a Decoder
// gives them out as whole characters (decode.go). A step that is not known is an error when the file is opened, never
// another result.
package tokenizer
