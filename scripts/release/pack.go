package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"time"
)

// file is a file of an archive.
type file struct {
	name string
	run  bool // it is a program
	data []byte
}

func (f file) mode() int64 {
	if f.run {
		return 0o755
	}
	return 0o644
}

// pack makes an archive of files in the folder name. The same files give the same bytes: times are left out.
func pack(name, suffix string, files []file) ([]byte, error) {
	var out bytes.Buffer
	var err error
	if suffix == ".zip" {
		err = packZip(&out, name, files)
	} else {
		err = packTar(&out, name, files)
	}
	if err != nil {
		return nil, fmt.Errorf("packing %s%s: %w", name, suffix, err)
	}
	return out.Bytes(), nil
}

func packTar(out *bytes.Buffer, name string, files []file) error {
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: name + "/" + f.name, Mode: f.mode(), Size: int64(len(f.data)), Format: tar.FormatPAX,
			ModTime: time.Unix(0, 0)}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

func packZip(out *bytes.Buffer, name string, files []file) error {
	z := zip.NewWriter(out)
	for _, f := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name + "/" + f.name, Method: zip.Deflate})
		if err != nil {
			return err
		}
		if _, err := w.Write(f.data); err != nil {
			return err
		}
	}
	return z.Close()
}
