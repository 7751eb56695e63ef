package search

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Real sentences and queries for them, each with the number of the sentence that must rank first.
func TestLanguages(t *testing.T) {
	for name, c := range map[string]struct {
		passages []string
		first    map[string]int
		none     []string
	}{
		"Chinese": {[]string{"巴黎是法国的首都。", "北京是中国的首都，人口超过两千万。", "水的化学式是H2O。"},
			map[string]int{"法国首都": 0, "中国的首都是哪里？": 1, "水": 2, "Ｈ２Ｏ": 2, "北京 人口": 1}, []string{"日本", "火"}},
		"Japanese": {[]string{"東京は日本の首都です。", "富士山は日本で一番高い山です。", "コンピュータゲームの歴史は長い。"},
			map[string]int{"日本の首都はどこですか": 0, "一番高い山": 1, "ゲーム": 2, "ｹﾞｰﾑ": 2, "山": 1}, []string{"韓国", "テレビ"}},
		"Korean": {[]string{"서울은 대한민국의 수도이다.", "부산은 항구 도시이다.", "물은 수소와 산소로 이루어져 있다."},
			map[string]int{"대한민국 수도": 0, "대한민국의 수도는 어디인가?": 0, "부산": 1, "물": 2, "산소": 2}, []string{"일본"}},
		"Thai": {[]string{"กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "เชียงใหม่ตั้งอยู่ทางภาคเหนือ ก่อตั้งเมื่อ พ.ศ. " +
			"๑๘๓๙",
			"แม่น้ำโขงไหลผ่านประเทศลาว"},
			map[string]int{"เมืองหลวงของไทย": 0, "เชียงใหม่": 1, "1839": 1, "แม่น้ำโขง": 2, "แม่\u200bน้ำ\u200bโขง": 2},
			[]string{"สิงคโปร์"}},
		"Khmer": {[]string{"ភ្នំពេញជារាជធានីនៃប្រទេសកម្ពុជា", "អង្គរវត្តស្ថិតនៅខេត្តសៀមរាប",
			"ទន្លេមេគង្គហូរកាត់ប្រទេសឡាវ"},
			map[string]int{"រាជធានីកម្ពុជា": 0, "អង្គរវត្ត": 1, "អង្គរ\u200bវត្ត": 1, "ទន្លេមេគង្គ": 2},
			[]string{"ថៃ"}},
		"Lao": {[]string{"ວຽງຈັນເປັນນະຄອນຫຼວງຂອງປະເທດລາວ", "ຫຼວງພະບາງແມ່ນເມືອງມໍລະດົກໂລກ", "ແມ່ນ້ຳຂອງໄຫຼຜ່ານປະເທດໄທ"},
			map[string]int{"ນະຄອນຫຼວງ": 0, "ເມືອງມໍລະດົກ": 1, "ແມ່ນ້ຳ": 2}, []string{"ຝຣັ່ງ"}},
		"Burmese": {[]string{"နေပြည်တော်သည် မြန်မာနိုင်ငံ၏ မြို့တော်ဖြစ်သည်။",
			"ရန်ကုန်သည် အကြီးဆုံးမြို့ဖြစ်သည်။", "ဧရာဝတီမြစ်သည် အရှည်ဆုံးမြစ်ဖြစ်သည်။"},
			map[string]int{"မြန်မာ မြို့တော်": 0, "ရန်ကုန်မြို့": 1, "ဧရာဝတီ": 2}, []string{"ဂျပန်"}},
		"mixed": {[]string{"KBS뉴스 2024년", "iPhone手机 made in 中国", "Tokyo (東京) is the capital of Japan"},
			map[string]int{"kbs": 0, "뉴스": 0, "2024": 0, "iphone": 1, "手机": 1, "東京": 2, "tokyo": 2}, []string{"京都"}},
	} {
		x := NewBM25(c.passages)
		for query, want := range c.first {
			hits := x.Find(query, 3)
			require.NotEmpty(t, hits, "%s: %s", name, query)
			require.Equal(t, want, hits[0].Passage, "%s: %s: %v", name, query, hits)
		}
		for _, query := range c.none {
			require.Empty(t, x.Find(query, 3), "%s: %s", name, query)
		}
	}
}

func queryTerms(text string) (out []string) {
	for term, single := range Terms(text) {
		if !single {
			out = append(out, term)
		}
	}
	return out
}

// A word is the same term with and without accents, and in other cases and Unicode forms.
func TestFolding(t *testing.T) {
	for text, want := range map[string]string{
		"Beyoncé Knowles":               "beyonce knowle",
		"Beyonce\u0301":                 "beyonce",
		"Łódź København Straße STRASSE": "lodz kobenhavn strasse strasse",
		"Ångström naïve cafés Ærø":      "angstrom naive cafe aero",
		"Þingvellir Đà Nẵng phở ŒUVRE":  "thingvellir da nang pho oeuvre",
		"İstanbul IĞDIR ılık":           "istanbul igdir ilik",
		"ΑΘΉΝΑ Αθήνα Ἀθῆναι ΟΔΌΣ οδός":  "αθηνα αθηνα αθηναι οδοσ οδοσ",
		"Ёлка елка Йод йод":             "елка елка йод йод",
		"ﬁlm ｆｉｌｍ ② m²":                 "film film 2 m2",
		"ex\u00adample co\u200dop":      "example coop",
		"Hawaiʻi l’été rock’n’roll":     "hawaii l ete rock n roll",
		"thé the":                       "the", // tea; the article is a stop word
		"col·lecció צה״ל":               "colleccio צהל",
		"٢٠٢٤ २०२४":                     "2024 2024",
		"हिन्दी भाषा":                   "हिन्दी भाषा",
		"ǿ Ǽ":                           "o ae",
		"東京都":                           "東京 京都",
		"":                              "", "…—🙂": "", "a\xffb": "b",
	} {
		require.Equal(t, want, strings.Join(queryTerms(text), " "), "%q", text)
	}
}

// The terms of ASCII text are its runs of letters and digits, in both code paths: asciiTerms and splitter.
func TestTermsOfASCII(t *testing.T) {
	char := rapid.RuneFrom([]rune("aAbstieoTHE129 \n\t.,'-_/\x00\x1c~"))
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(char, 0, 60).Draw(t, "text"))
		var want []string
		other := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }
		for w := range strings.FieldsFuncSeq(strings.ToLower(text), other) {
			if !stop[w] {
				want = append(want, singular(w))
			}
		}
		require.Equal(t, want, queryTerms(text))
		var slow []string
		s := splitter{ok: true, yield: func(w string, _ bool) bool { slow = append(slow, w); return true }}
		s.split(strings.ToLower(text))
		require.Equal(t, want, slow)
	})
}

// A caller that stops early gets no more terms, and the terms of a text do not depend on the text around it.
func TestTermsStop(t *testing.T) {
	text := "one 東京都 Łódź two"
	all := queryTerms(text)
	require.Equal(t, []string{"one", "東京", "京都", "lodz", "two"}, all)
	n := 0
	for range Terms(text) {
		n++
	}
	for most := range n {
		seen := 0
		for range Terms(text) {
			if seen++; seen > most {
				break
			}
		}
		require.Equal(t, most+1, seen)
	}
	require.Equal(t, slices.Concat(all, all), queryTerms(text+"\n"+text))
}
