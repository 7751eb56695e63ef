package serve

import "strings"

// otherNames maps names of other servers and libraries to ours.
var otherNames = map[string]string{
	"repeat_penalty": "repetition_penalty", "n_predict": "max_tokens", "num_predict": "max_tokens",
	"max_new_tokens": "max_tokens", "max_length": "max_tokens", "min_length": "min_tokens",
	"min_new_tokens": "min_tokens",
	"stop_strings":   "stop", "num_return_sequences": "n", "enable_thinking": "chat_template_kwargs"}

// nearest guesses which parameter of the endpoint is meant: the one that has this name elsewhere, or the one with the
// smallest edit distance, if that is at most a third of its length plus 1; "" if there is none.
func nearest(name string, in endpoint) (best string) {
	if best = otherNames[name]; findParameter(best, in) != nil {
		return best
	}
	best = ""
	least := len(name)/3 + 2
	for _, p := range in.table() {
		if n := edits(strings.ToLower(name), p.name); p.in&in != 0 && n < least {
			best, least = p.name, n
		}
	}
	return best
}

// edits is the Levenshtein distance of two names.
func edits(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
