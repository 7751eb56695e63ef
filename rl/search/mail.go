package search

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"

	"golang.org/x/net/html/charset"
)

// mailDepth is the deepest nesting of parts that is read.
const mailDepth = 16

// mail adds the text of a message (RFC 5322, MIME): its title is the subject, its first paragraph says from whom, to
// whom and when. Of alternatives the plain text is taken. Attached documents are read too; other parts are left out.
func (p *passages) mail(c *Corpus, message []byte) error {
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return errors.New("this is not a mail message: it has no header")
	}
	words := mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	field := func(name string) string {
		raw := m.Header.Get(name)
		if s, err := words.DecodeHeader(raw); err == nil {
			return strings.TrimSpace(s)
		}
		return strings.TrimSpace(raw)
	}
	if s := field("Subject"); s != "" {
		p.title = s
	}
	var head []string
	for _, name := range []string{"From", "To", "Date"} {
		if s := field(name); s != "" {
			head = append(head, name+": "+s)
		}
	}
	p.paragraph(strings.Join(head, "; "))
	return p.part(c, textproto.MIMEHeader(m.Header), m.Body, 0)
}

// part adds one part of a message, or all parts of it.
func (p *passages) part(c *Corpus, header textproto.MIMEHeader, body io.Reader, depth int) error {
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind == "" {
		kind, params = "text/plain", map[string]string{}
	}
	if strings.HasPrefix(kind, "multipart/") && depth < mailDepth {
		return p.parts(c, kind, multipart.NewReader(body, params["boundary"]), depth)
	}
	switch strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding"))) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(io.LimitReader(body, maxDocument))
	if err != nil && len(content) == 0 {
		return errors.New("the message is damaged: save it again")
	}
	if name := attachment(header); name != "" {
		if hasSuffix(name, documentFiles) && !hasSuffix(name, []string{".eml"}) {
			if more, err := c.cut(content, name); err == nil {
				p.flush()
				p.out = append(p.out, more...)
			}
		}
		return nil
	}
	if r, err := charset.NewReaderLabel(params["charset"], bytes.NewReader(content)); err == nil {
		if decoded, err := io.ReadAll(r); err == nil {
			content = decoded
		}
	}
	switch kind {
	case "text/plain":
		p.plain(strings.ToValidUTF8(string(content), " "))
	case "text/html":
		title := p.title
		p.html(bytes.ToValidUTF8(content, []byte(" ")))
		p.title = title // the subject, not the page's
	}
	return nil
}

// parts adds the parts of a message: of alternatives the plain text, or the first if there is none.
func (p *passages) parts(c *Corpus, kind string, r *multipart.Reader, depth int) error {
	type held struct {
		header textproto.MIMEHeader
		body   []byte
	}
	var all []held
	for {
		part, err := r.NextRawPart()
		if err != nil { // the end, or a message that is cut off: what is there is taken
			break
		}
		body, _ := io.ReadAll(io.LimitReader(part, maxDocument))
		all = append(all, held{part.Header, body})
	}
	if kind == "multipart/alternative" && len(all) > 1 {
		chosen := all[0]
		for _, h := range all {
			if strings.HasPrefix(h.header.Get("Content-Type"), "text/plain") {
				chosen = h
				break
			}
		}
		all = []held{chosen}
	}
	for _, h := range all {
		if err := p.part(c, h.header, bytes.NewReader(h.body), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// attachment is the file name of a part, "" if it is shown in the message.
func attachment(header textproto.MIMEHeader) string {
	words := mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	for _, field := range []string{"Content-Disposition", "Content-Type"} {
		_, params, err := mime.ParseMediaType(header.Get(field))
		if err != nil {
			continue
		}
		for _, key := range []string{"filename", "name"} {
			if name := params[key]; name != "" {
				if s, err := words.DecodeHeader(name); err == nil {
					name = s
				}
				return name
			}
		}
	}
	return ""
}
