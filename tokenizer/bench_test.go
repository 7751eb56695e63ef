package tokenizer

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

// BenchmarkOpen reads tokenizer.json as it lies in a model folder, not gzipped.
func BenchmarkOpen(b *testing.B) {
	for _, name := range []string{"smollm2", "llama3", "qwen3"} {
		b.Run(name, func(b *testing.B) {
			file := "testdata/smollm2/tokenizer.json.gz"
			if name != "smollm2" {
				file = goldens.Data(b, "tokenizers/"+name+"/tokenizer.json.gz")
			}
			text, err := readFile(file)
			require.NoError(b, err)
			b.SetBytes(int64(len(text)))
			start := cpuTime()
			for b.Loop() {
				_, err := parse(text)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(cpuTime()-start)/1e6/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkEncode encodes $BENCH_TEXT, or the conversations of the goldens again and again, one document a line.
func BenchmarkEncode(b *testing.B) {
	file := os.Getenv("BENCH_TEXT")
	if file == "" {
		file = "testdata/goldens/smollm2.chat.jsonl"
	}
	text, err := os.ReadFile(file)
	require.NoError(b, err)
	docs := bytes.Split(text, []byte("\n"))
	for _, name := range []string{"smollm2", "llama3", "qwen3"} {
		b.Run(name, func(b *testing.B) {
			tok := open(b, name)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				for _, d := range docs {
					tok.Encode(string(d), EncodeOptions{})
				}
			}
		})
	}
}

// cpuTime is the process's time on all cores, which other programs disturb less than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
