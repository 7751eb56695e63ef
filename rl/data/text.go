package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Text gives a reader that converts a text to UTF-8 without a byte order mark. The input may be gzipped. It is UTF-8
// or, as some Windows editors and shells write it, UTF-16. UTF-16 without a byte order mark is recognised only if the
// text begins like JSON.
func Text(r io.Reader) (*bufio.Reader, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	if head, _ := br.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("%w: the file is damaged, fetch it again", err)
		}
		br = bufio.NewReaderSize(z, 1<<16)
	}
	head, _ := br.Peek(2) // not more: standard input may be a terminal, where only these bytes are typed so far
	if len(head) < 2 {
		return br, nil
	}
	order, mark := unicode.LittleEndian, unicode.IgnoreBOM
	switch a, b := head[0], head[1]; {
	case a == 0xef && b == 0xbb:
		if head, _ = br.Peek(3); bytes.Equal(head, []byte("\ufeff")) {
			br.Discard(3)
		}
		return br, nil
	case a == 0xff && b == 0xfe:
		mark = unicode.ExpectBOM
	case a == 0xfe && b == 0xff:
		order, mark = unicode.BigEndian, unicode.ExpectBOM
	case b == 0 && beginsJSON(a):
	case a == 0 && beginsJSON(b):
		order = unicode.BigEndian
	default:
		return br, nil
	}
	if head, _ := br.Peek(4); bytes.Equal(head, []byte{0xff, 0xfe, 0, 0}) {
		return nil, errors.New("the file is UTF-32 text: save it as UTF-8")
	}
	return bufio.NewReaderSize(transform.NewReader(br, unicode.UTF16(order, mark).NewDecoder()), 1<<16), nil
}

// ReadText reads a file by Text.
func ReadText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := Text(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(r)
}

func beginsJSON(c byte) bool { return bytes.IndexByte([]byte("{[ \t\r\n"), c) >= 0 }
