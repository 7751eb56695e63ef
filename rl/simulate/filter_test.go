package simulate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
)

func TestFilter(t *testing.T) {
	docs := func(q search.Quality, docs ...string) search.Documents {
		return search.Documents{Quality: q, Docs: docs}
	}
	golds := []string{"330 m"}
	for _, c := range []struct {
		f    Filter
		d    search.Documents
		want string
	}{
		{Filter{}, docs(search.Useful), ""},
		{Filter{Complete: true}, docs(search.Useful, "a"), droppedIncomplete},
		{Filter{Complete: true}, docs(search.Useful, "a", "b"), ""},
		{Filter{MinWords: 2}, docs(search.Useful, "a b", "b"), droppedShort},
		{Filter{MaxWords: 2}, docs(search.Useful, "a b", "a b c"), droppedLong},
		{Filter{MinWords: 2, MaxWords: 2}, docs(search.Useful, "a b", "b c"), ""},
		{Filter{Answers: true}, docs(search.Useful, "no", "it is 330 m high"), ""},
		{Filter{Answers: true}, docs(search.Useful, "no", "it is 1330 m high"), droppedNoAnswer},
		{Filter{Answers: true}, docs(search.Noisy, "no", "it is 330 m high"), droppedAnswer},
		{Filter{Answers: true}, docs(search.Noisy, "no"), ""},
		{Filter{Copies: true}, docs(search.Noisy, "these documents should contain useful information about a tower"),
			""},
		{Filter{Copies: true}, docs(search.Noisy, "Words, and these documents should contain useful information."),
			droppedCopy},
		{Filter{Language: "en"}, docs(search.Useful, "The tower is in the middle of a park."), ""},
		{Filter{Language: "en"}, docs(search.Useful, "这座塔高330米"), droppedLanguage},
	} {
		require.Equal(t, c.want, c.f.drop(c.d, golds, 2), "%+v %v", c.f, c.d.Docs)
	}
	require.NoError(t, Filter{Tries: 1}.Check())
	for _, f := range []Filter{{}, {Tries: 1, MinWords: 3, MaxWords: 2}, {Tries: 1, Language: "klingon"},
		{Tries: 1, NearDuplicates: 2}, {Tries: 1, MinWords: -1}} {
		require.Error(t, f.Check(), "%+v", f)
	}
}

// The sentences are translations of each other.
func TestLanguage(t *testing.T) {
	for want, text := range map[string]string{
		"en": "The bridge over the river was opened in 1931 and is still the longest of the country.",
		"de": "Die Brücke über den Fluss wurde 1931 eröffnet und ist noch immer die längste des Landes.",
		"fr": "Le pont sur le fleuve a été ouvert en 1931 et il est toujours le plus long du pays.",
		"es": "El puente sobre el río se abrió en 1931 y sigue siendo el más largo del país.",
		"it": "Il ponte sul fiume è stato aperto nel 1931 ed è ancora il più lungo del paese.",
		"pt": "A ponte sobre o rio foi aberta em 1931 e não é a mais longa do país.",
		"nl": "De brug over de rivier werd in 1931 geopend en is nog altijd de langste van het land.",
		"sv": "Bron över floden öppnades 1931 och är fortfarande den längsta i landet.",
		"pl": "Most na rzece został otwarty w 1931 roku i jest do dziś najdłuższy w kraju.",
		"ru": "Мост через реку был открыт в 1931 году и до сих пор является самым длинным в стране.",
		"zh": "这座横跨河流的大桥于1931年通车，至今仍是全国最长的桥。",
		"ja": "川に架かるこの橋は1931年に開通し、今でも国内で最も長い橋である。",
		"ko": "강 위의 이 다리는 1931년에 개통되었으며 지금도 나라에서 가장 길다.",
		"":   "1931 330",
	} {
		require.Equal(t, want, language(text), text)
	}
}

// Documents of known similarity: of n words, all different, the last k are replaced. Of n-2 runs of three words each
// has, n-2-k are common, of n-2+k in all.
func TestSimilar(t *testing.T) {
	const n = 102
	words := func(k int) string {
		var out []string
		for i := range n {
			if i >= n-k {
				out = append(out, fmt.Sprint("other", i))
			} else {
				out = append(out, fmt.Sprint("word", i))
			}
		}
		return strings.Join(out, " ")
	}
	for k, similarity := range map[int]float64{5: 95.0 / 105, 20: 80.0 / 120, 60: 40.0 / 160} {
		a, b := sign(words(0)), sign(words(k))
		same := 0
		for i := range a {
			if a[i] == b[i] {
				same++
			}
		}
		// 2.5 standard deviations
		require.InDelta(t, similarity, float64(same)/hashes, 0.15, "%d of %d words replaced", k, n)
	}
	var s similar
	s.add(sign(words(0)))
	require.True(t, s.find(sign(words(0)), 1))
	require.True(t, s.find(sign(words(5)), 0.7))
	require.False(t, s.find(sign(words(60)), 0.7))
	require.False(t, s.find(sign("a"), 0.7))
	s.add(sign("a"))
	require.True(t, s.find(sign("A."), 0.7))
}

// Of similar rows the first one of the shard stays.
func TestDropSimilar(t *testing.T) {
	row := func(docs ...string) shards.Result {
		line, err := json.Marshal(map[string]any{"documents": docs})
		require.NoError(t, err)
		return shards.Result{Lines: []json.RawMessage{line}}
	}
	gone := shards.Result{Dropped: "too short"}
	results := []shards.Result{row("one two three four", "x"), row("five six seven eight"), gone,
		row("y", "Five six seven, eight!"), row("five six nine ten")}
	(&Scale{Filter: Filter{NearDuplicates: 0.8}}).dropSimilar(results)
	var why []string
	for _, r := range results {
		why = append(why, r.Dropped)
	}
	require.Equal(t, []string{"", "", "too short", droppedNearDuplicate, ""}, why)
}
