// Package bytetokenizer makes a tokenizer without merges for tests: a token for each byte, and added tokens.
package bytetokenizer

import "encoding/json"

// JSON is the text of a tokenizer.json: id b is byte b, and the added tokens follow from id 256 on, the first of them
// special.
func JSON(special, others []string) []byte {
	vocab := map[string]int{}
	next := 0
	for b := range 256 { // GPT-2's alphabet of bytes
		r := rune(b)
		if b < 33 || b > 126 && b < 161 || b == 173 {
			r = rune(256 + next)
			next++
		}
		vocab[string(r)] = b
	}
	added := []map[string]any{}
	for i, s := range append(special[:len(special):len(special)], others...) {
		added = append(added, map[string]any{"id": 256 + i, "content": s, "special": i < len(special),
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
	}
	text, err := json.Marshal(map[string]any{"version": "1.0", "added_tokens": added, "normalizer": nil,
		"post_processor": nil,
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
			"use_regex": true},
		"decoder": map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
			"use_regex": true},
		"model": map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}, "byte_fallback": false}})
	if err != nil {
		panic(err) // texts and numbers can always be written
	}
	return text
}
