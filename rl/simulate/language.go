package simulate

import (
	"slices"
	"strings"
	"unicode"
)

// functionWords are frequent words of languages in Latin script, chosen so that each language has some that the others
// do not have.
var functionWords = []struct{ code, words string }{
	{"en", "the of and to in is was for that with as by on it from at are be this which an or were has have not its"},
	{"de",
		"der die und das den von zu ist mit des im dem nicht ein eine auf als auch es an werden aus er hat dass wurde"},
	{"fr", "le la les de des et est en un une du que dans qui pour par sur au il elle pas plus avec ce sont aux été"},
	{"es", "el la los las de y en que un una es por con para del se al lo su como más fue son desde entre"},
	{"it", "il la di e che in un una è per con del della dei le i gli da nel alla non si sono come anche più stato"},
	{"pt", "o a os as de e que em um uma é do da dos das no na por com para não se como mais foi ao pelo são"},
	{"nl", "de het een en van in is dat op te zijn met voor niet aan er die was ook door naar werd bij om uit"},
	{"sv", "och i att det som en på är av för med den till ett om har de inte var sig från vid"},
	{"pl", "w i na z do się jest nie że to od za przez po jak jego oraz dla był są przy roku"},
	{"tr", "ve bir bu da de için ile olarak olan daha çok gibi sonra kadar en ancak ya ise"},
	{"vi", "của và là có trong được cho các một người này với những không đã năm từ khi"},
	{"id", "yang dan di dari untuk dengan pada adalah ini dalam tidak oleh sebagai atau itu telah akan"},
}

// scripts are languages that are recognised by their script. Japanese comes before Chinese: its texts use both scripts.
var scripts = []struct {
	code  string
	table *unicode.RangeTable
}{
	{"ja", unicode.Hiragana}, {"ko", unicode.Hangul}, {"zh", unicode.Han}, {"ru", unicode.Cyrillic},
	{"ar", unicode.Arabic}, {"el", unicode.Greek}, {"he", unicode.Hebrew}, {"hi", unicode.Devanagari},
	{"th", unicode.Thai},
}

// languages are the codes (ISO 639-1) of the languages that can be told apart. Languages that share a script that is
// not Latin count as one: all of Cyrillic as ru, all of Arabic as ar, all of Devanagari as hi.
func languages() (codes []string) {
	for _, l := range functionWords {
		codes = append(codes, l.code)
	}
	for _, s := range scripts {
		codes = append(codes, s.code)
	}
	return codes
}

func knownLanguage(code string) bool { return slices.Contains(languages(), code) }

// language returns the language of a text of some sentences, "" if it is unknown. The script of most letters decides;
// for Latin script it is the language with the most function words in the text.
func language(text string) string {
	letters, latin, kana := 0, 0, 0
	count := make([]int, len(scripts))
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		letters++
		if unicode.Is(unicode.Latin, r) {
			latin++
			continue
		}
		if unicode.In(r, unicode.Hiragana, unicode.Katakana) {
			kana++
		}
		for i, s := range scripts {
			if unicode.Is(s.table, r) {
				count[i]++
			}
		}
	}
	if 2*latin > letters {
		return latinLanguage(text)
	}
	best := 0
	for i := range scripts {
		if count[i] > count[best] {
			best = i
		}
	}
	switch {
	case letters == 0 || count[best] == 0:
		return ""
	case scripts[best].code == "zh" && 10*kana > letters:
		return "ja" // Chinese characters are more frequent in many Japanese texts, too
	}
	return scripts[best].code
}

// latinLanguage counts function words.
func latinLanguage(text string) string {
	count := map[string]int{}
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		count[w]++
	}
	best, most := "", 0
	for _, l := range functionWords {
		n := 0
		for _, w := range strings.Fields(l.words) {
			n += count[w]
		}
		if n > most {
			best, most = l.code, n
		}
	}
	return best
}
