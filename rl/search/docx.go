package search

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// docx adds the paragraphs and headings of a Word document (ECMA-376, part 1, section 17): an archive whose file
// word/document.xml holds paragraphs w:p of runs of text w:t. A row of a table is a paragraph, its cells separated by
// "|". Deleted text (w:delText) and the second form of drawings (mc:Fallback) are left out.
func (p *passages) docx(document []byte) error {
	z, err := zip.NewReader(bytes.NewReader(document), int64(len(document)))
	if err != nil {
		return errors.New("this is not a complete .docx file: save it again")
	}
	f, err := z.Open("word/document.xml")
	if err != nil {
		return errors.New("this is not a .docx file: it has no word/document.xml")
	}
	defer f.Close()
	return p.wordDocument(f)
}

// wordDocument adds the text of word/document.xml.
func (p *passages) wordDocument(f io.Reader) error {
	r := &io.LimitedReader{R: f, N: maxDocument}
	d := xml.NewDecoder(r)
	d.Strict = false
	var text strings.Builder // of the paragraph
	heading, inText, rows := false, false, 0
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && r.N > 0 {
			return nil
		}
		if r.N <= 0 {
			return fmt.Errorf("it holds more than %d MiB of text: split it into smaller files", maxDocument>>20)
		}
		if err != nil {
			return errors.New("this .docx file is damaged: save it again")
		}
		switch e := t.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "Fallback":
				if err := d.Skip(); err != nil {
					return errors.New("this .docx file is damaged: save it again")
				}
			case "t":
				inText = true
			case "tab", "br", "cr":
				text.WriteByte(' ')
			case "pStyle":
				heading = heading || headingStyle(attribute(e, "val"))
			case "outlineLvl":
				heading = heading || attribute(e, "val") != "9" // 9 is body text
			case "tr":
				rows++
			}
		case xml.CharData:
			if inText {
				text.Write(e)
			}
		case xml.EndElement:
			switch e.Name.Local {
			case "t":
				inText = false
			case "tc":
				text.WriteString(" | ")
			case "tr":
				rows = max(0, rows-1)
				p.paragraph(strings.TrimSuffix(text.String(), " | "))
				text.Reset()
			case "p":
				switch {
				case rows > 0:
					text.WriteByte(' ')
				case heading && strings.TrimSpace(text.String()) != "":
					p.section(text.String())
					text.Reset()
				default:
					p.paragraph(text.String())
					text.Reset()
				}
				heading = false
			}
		}
	}
}

// headingStyle says whether a paragraph style is one of headings or titles. Word names the styles in the language of
// the program that made the document.
func headingStyle(style string) bool {
	style = strings.ToLower(style)
	for _, name := range []string{"heading", "title", "berschrift", "titel", "titre", "encabezado", "titolo", "ttulo",
		"rubrik", "kop"} {
		if strings.Contains(style, name) && !strings.HasPrefix(style, "toc") {
			return true
		}
	}
	return false
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
