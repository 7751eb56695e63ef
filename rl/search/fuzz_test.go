package search

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// longest is the largest length of a fuzzed text, in bytes. Longer texts reach no other code, and the fuzzer minimises
// its inputs byte by byte, in quadratic time.
const longest = 100

// documented checks a property of all documents: every passage is a text under a title.
func documented(t *testing.T, name string, text []byte) {
	out, err := (&Corpus{}).cut(text, name)
	if err != nil {
		return
	}
	for _, p := range out {
		title, body, ok := strings.Cut(p, "\"\n")
		require.True(t, ok && strings.HasPrefix(title, `"`) && strings.TrimSpace(body) != "", p)
	}
}

// tried leaves long texts out, and PDF, whose engine takes a second to start; its documents are those of
// TestCorpusOfPDF.
func tried(text []byte) bool {
	return len(text) <= longest && !strings.HasPrefix(string(text), "%PDF-")
}

func FuzzHTML(f *testing.F) {
	f.Add([]byte("<title>x</title><p>y<script>z"))
	f.Add([]byte("<h1>a</h1><svg><title>b</title></svg><td>c"))
	f.Add([]byte("<div><div></h2><textarea>a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if tried(text) {
			documented(t, "d.html", text)
		}
	})
}

func FuzzMarkdown(f *testing.F) {
	f.Add([]byte("# a\n\n```\nb\n```\n"))
	f.Add([]byte("~~~\r\n# a\r\n\r\n####### b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if tried(text) {
			documented(t, "d.md", text)
			documented(t, "d.txt", text)
		}
	})
}

func FuzzMail(f *testing.F) {
	f.Add([]byte("Subject: a\n\nb"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x--"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if tried(text) {
			documented(t, "d.eml", text)
		}
	})
}

func FuzzDocx(f *testing.F) {
	f.Add("<p><pPr><pStyle val='Heading1'/></pPr><t>a</t></p><tr><tc><p><t>b</t></p></tc></tr>")
	f.Fuzz(func(t *testing.T, text string) {
		p := passages{title: "d"}
		if len(text) > longest || p.wordDocument(strings.NewReader(text)) != nil {
			return
		}
		p.flush()
		for _, p := range p.out {
			require.Regexp(t, "(?s)^\"d.*\"\n.*[^ ]", p)
		}
	})
}

// FuzzTable: every row of a table gives at most one passage, and it is not empty.
func FuzzTable(f *testing.F) {
	f.Add([]byte("a,b\n1,\"2\"\n"))
	f.Add([]byte("text;title\nx;y;z\n\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := &Corpus{}
		if len(text) > longest || c.tableRows("d.csv", text) != nil {
			return
		}
		require.Len(t, c.Sources, len(c.Passages))
		for i, p := range c.Passages {
			require.NotEmpty(t, strings.TrimSpace(p))
			require.True(t, i == 0 || c.Sources[i].Passage > c.Sources[i-1].Passage)
		}
	})
}

// FuzzCutWords: cutting a text into pieces loses nothing but blanks, and no piece is empty.
func FuzzCutWords(f *testing.F) {
	f.Add("Two words")
	f.Add("巴黎是法国的首都。北京是中国的首都。")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > longest {
			return
		}
		pieces, words := cutWords(text)
		var b strings.Builder
		for _, p := range pieces {
			require.NotEmpty(t, p.text)
			if !p.joined && b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(p.text)
			words -= p.words
		}
		require.Zero(t, words)
		require.Equal(t, strings.Join(strings.Fields(text), " "), b.String())
	})
}

// FuzzTerms: no term is empty, and a query that equals a text finds it.
func FuzzTerms(f *testing.F) {
	f.Add("Łódź 東京都 ﬁ ก่")
	f.Add("a\u0301\u200b\xff")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > longest {
			return
		}
		asked := false
		for term, single := range Terms(text) {
			require.NotEmpty(t, term)
			asked = asked || !single
		}
		require.Equal(t, asked, len(NewBM25([]string{text}).Find(text, 1)) == 1)
	})
}

// FuzzBM25: no query gives an error or an empty text, and all hits have scores above 0.
func FuzzBM25(f *testing.F) {
	f.Add("capital of France", "Paris is the capital\xff")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, q, doc string) {
		if len(q) > longest || len(doc) > longest {
			return
		}
		x := NewBM25([]string{doc, q, "paris"})
		d, err := x.Search(t.Context(), Query{Query: q})
		require.NoError(t, err)
		require.NotEmpty(t, d.Text)
		for _, h := range x.Find(q, 3) {
			require.Greater(t, h.Score, 0.0)
		}
	})
}

// FuzzRetrieved: for any answer of a retrieval server, every document is a text on one line.
func FuzzRetrieved(f *testing.F) {
	f.Add([]byte(`{"result":[[{"document":{"title":1984,"text":"a"},"score":NaN}]]}`))
	f.Add([]byte(`{"result":[[{"contents":"\"T\"\na"},null]]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > longest {
			return
		}
		docs, err := readRetrieved(body)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		for _, d := range docs {
			require.NotEmpty(t, d)
			require.NotContains(t, d, "\n")
		}
	})
}
