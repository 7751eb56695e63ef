package report

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// tail reads a file of lines as it grows.
type tail struct {
	path string
	at   int64 // bytes read
}

// read calls each for every complete line that was added since the last call. A line without a line break is read by a
// later call. If the file has become shorter, because a resumed run has cut it, reset is called and the file is read
// again from the start. A file that does not exist has no lines.
func (t *tail) read(each func(line []byte), reset func()) error {
	f, err := os.Open(t.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < t.at {
		reset()
		t.at = 0
	}
	buf := make([]byte, 1<<18)
	have := 0
	for {
		n, err := f.ReadAt(buf[have:], t.at+int64(have))
		have += n
		begin := 0
		for {
			end := bytes.IndexByte(buf[begin:have], '\n')
			if end < 0 {
				break
			}
			if line := bytes.TrimSpace(buf[begin : begin+end]); len(line) > 0 {
				each(line)
			}
			begin += end + 1
		}
		t.at += int64(begin)
		have = copy(buf, buf[begin:have])
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case have == len(buf): // the line is longer than the buffer
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}
