package search

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// passageWords is the approximate length of a passage, in words. It is the usual length in corpora for question
// answering.
const passageWords = 100

// maxDocument is the largest size of a document file, in bytes.
const maxDocument = 64 << 20

// document cuts a document into passages, or takes them from the reader's folder.
func (c *Corpus) document(path string) error {
	content, err := readLimited(path)
	if err != nil {
		return err
	}
	key := c.reader.key(path, content)
	out, kept := c.reader.load(key)
	if kept {
		c.Kept++
	} else {
		if out, err = c.cut(content, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := c.reader.save(key, out); err != nil {
			c.KeepError, c.reader.Keep = err, "" // one file after the other would fail
		}
	}
	c.add(path, out)
	return nil
}

// readLimited reads a file of at most maxDocument bytes. Text becomes UTF-8 without a byte order mark, and what is
// gzipped is unpacked.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := data.Text(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("%s is larger than %d MiB: split it into smaller files", path, maxDocument>>20)
	}
	return text, nil
}

// cut gives the passages of a document; the end of its name says of which kind it is.
func (c *Corpus) cut(text []byte, name string) ([]string, error) {
	p := passages{title: strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))}
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case bytes.HasPrefix(text, []byte("%PDF-")) || ext == ".pdf":
		pages, err := c.pdf.text(text)
		if err != nil {
			return nil, err
		}
		for _, page := range pages {
			p.paragraph(page)
		}
	case ext == ".docx":
		if err := p.docx(text); err != nil {
			return nil, err
		}
	case ext == ".eml":
		if err := p.mail(c, text); err != nil {
			return nil, err
		}
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		return nil, errors.New("it is not UTF-8 text")
	case ext == ".html" || ext == ".htm":
		p.html(text)
	case ext == ".md" || ext == ".markdown":
		p.markdown(string(text))
	default:
		p.plain(string(text))
	}
	p.flush()
	return p.out, nil
}

// passages collects paragraphs into passages of about passageWords words, each under the document's title and the
// heading above it.
type passages struct {
	title, heading string
	text           strings.Builder // of the passage that is being filled
	words          int             // in text
	out            []string        // finished passages
}

// paragraph adds a paragraph. A paragraph is split between passages only if it is very long.
func (p *passages) paragraph(text string) {
	pieces, left := cutWords(text)
	if p.words+left > passageWords {
		p.flush()
	}
	for _, w := range pieces {
		if p.words >= passageWords && p.words+left > 2*passageWords {
			p.flush()
		}
		if p.words > 0 && !w.joined {
			p.text.WriteByte(' ')
		}
		p.text.WriteString(w.text)
		p.words += w.words
		left -= w.words
	}
}

// section begins a new passage under a new heading.
func (p *passages) section(heading string) {
	p.flush()
	p.heading = strings.Join(strings.Fields(heading), " ")
}

func (p *passages) flush() {
	if p.words > 0 {
		title := p.title
		if p.heading != "" && p.heading != title {
			title += ": " + p.heading
		}
		p.out = append(p.out, `"`+title+"\"\n"+p.text.String())
	}
	p.text.Reset()
	p.words = 0
}

// plain splits at blank lines.
func (p *passages) plain(text string) {
	for para := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		p.paragraph(para)
	}
}

// markdown splits at blank lines, too. Outside code blocks, lines that begin with one to six # are headings. Other
// markup stays in the text, because language models read it well.
func (p *passages) markdown(text string) {
	var para strings.Builder
	end := func() {
		p.paragraph(para.String())
		para.Reset()
	}
	fence := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		bare := strings.TrimSpace(line)
		level := len(bare) - len(strings.TrimLeft(bare, "#"))
		switch {
		case fence == "" && (strings.HasPrefix(bare, "```") || strings.HasPrefix(bare, "~~~")):
			fence = bare[:3]
		case fence != "" && strings.HasPrefix(bare, fence):
			fence = ""
		case fence == "" && bare == "":
			end()
		case fence == "" && 1 <= level && level <= 6 && (len(bare) == level || bare[level] == ' '):
			end()
			p.section(strings.Trim(bare, "# "))
		default:
			para.WriteString(line)
		}
	}
	end()
}

// html extracts the title, the headings and the paragraphs of a page. Text that a browser does not show is left out.
func (p *passages) html(page []byte) {
	var text strings.Builder
	end := func() {
		p.paragraph(text.String())
		text.Reset()
	}
	z := html.NewTokenizer(bytes.NewReader(page))
	var hidden, heading, title int // how many such elements are open
	named := false
	for {
		kind := z.Next()
		switch kind {
		case html.ErrorToken: // the end of the page: reading from memory cannot fail
			end()
			return
		case html.TextToken:
			if hidden == 0 {
				text.Write(z.Text())
			}
			continue
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
		default:
			continue
		}
		name, _ := z.TagName()
		step := map[html.TokenType]int{html.StartTagToken: 1, html.EndTagToken: -1}[kind]
		switch a := atom.Lookup(name); a {
		case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Textarea, atom.Iframe:
			hidden = max(0, hidden+step)
		case atom.Title:
			if step < 0 && title > 0 {
				if t := strings.Join(strings.Fields(text.String()), " "); t != "" && hidden == 0 && !named {
					p.title, named = t, true // a later title belongs to an embedded SVG
				}
				text.Reset()
			} else {
				end()
			}
			title = max(0, title+step)
		case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
			if step < 0 && heading > 0 {
				p.section(text.String())
				text.Reset()
			} else {
				end()
			}
			heading = max(0, heading+step)
		case atom.A, atom.B, atom.I, atom.Em, atom.Strong, atom.Span, atom.Code, atom.Sub, atom.Sup, atom.Small, atom.U,
			atom.Abbr, atom.Cite, atom.Q, atom.Mark, atom.Font:
		case atom.Br, atom.Td, atom.Th, atom.Img, atom.Wbr:
			text.WriteByte(' ')
		default:
			end()
		}
	}
}
