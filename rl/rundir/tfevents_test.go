package rundir

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// The first record as tensorboard 2.21's RecordWriter writes it: wall_time 1.5, file_version brain.Event:2.
func TestRecord(t *testing.T) {
	want, err := hex.DecodeString("1800000000000000" + "a37f4b22" + "09000000000000f83f" + "1a0d" +
		hex.EncodeToString([]byte("brain.Event:2")) + "2a28646c")
	require.NoError(t, err)
	require.Equal(t, want, record(bytesField(doubleField(nil, 1, 1.5), 3, []byte("brain.Event:2"))))
}

// eventsFile is the file of a second, on this host.
func eventsFile(t *testing.T, dir, second string) string {
	host, err := os.Hostname()
	require.NoError(t, err)
	return filepath.Join(dir, "events.out.tfevents."+second+"."+host)
}

// frames splits an events file into messages and checks the sums.
func frames(t *testing.T, file string) (out []map[protowire.Number][]byte) {
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		require.Equal(t, maskedCRC(b[:8]), binary.LittleEndian.Uint32(b[8:]))
		message := b[12 : 12+n]
		require.Equal(t, maskedCRC(message), binary.LittleEndian.Uint32(b[12+n:]))
		out = append(out, fields(t, message)[0])
		b = b[16+n:]
	}
	return out
}

// fields takes a message apart: the bytes of each field, a map for each time that field 1 comes.
func fields(t *testing.T, b []byte) (out []map[protowire.Number][]byte) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		require.Positive(t, n)
		b = b[n:]
		v := b[:max(0, protowire.ConsumeFieldValue(num, typ, b))]
		b = b[len(v):]
		if typ == protowire.BytesType {
			v, _ = protowire.ConsumeBytes(v)
		}
		if len(out) == 0 || num == 1 {
			out = append(out, map[protowire.Number][]byte{})
		}
		out[len(out)-1][num] = v
	}
	return out
}

func double(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }

func TestScalarsHistogramsText(t *testing.T) {
	dir := t.TempDir()
	e, err := openEvents(dir, 0, func() time.Time { return time.Unix(1700000000, 250e6) })
	require.NoError(t, err)
	require.NoError(t, e.scalars(4, Metrics{"b": 0.1, "a": math.NaN()}))
	require.NoError(t, e.histogram(4, "h", []float64{1, 4, 4, math.Inf(1), math.NaN(), 2}))
	require.NoError(t, e.histogram(4, "nothing", []float64{math.NaN()}))
	require.NoError(t, e.histogram(4, "one", []float64{-3, -3}))
	require.NoError(t, e.text(5, "t", "**hi**"))
	all := frames(t, eventsFile(t, dir, "1700000000"))
	require.Len(t, all, 5)
	require.Equal(t, "brain.Event:2", string(all[0][3]))
	for _, ev := range all {
		require.Equal(t, 1700000000.25, double(ev[1]))
	}
	require.Equal(t, []byte{4}, all[1][2])

	s := fields(t, all[1][5])
	require.Len(t, s, 2)
	a, b := fields(t, s[0][1])[0], fields(t, s[1][1])[0]
	require.Equal(t, "a", string(a[1]))
	require.True(t, math.IsNaN(float64(math.Float32frombits(binary.LittleEndian.Uint32(a[2])))))
	require.Equal(t, "b", string(b[1]))
	require.Equal(t, float32(0.1), math.Float32frombits(binary.LittleEndian.Uint32(b[2])))

	h := fields(t, fields(t, fields(t, all[2][5])[0][1])[0][5])[0]
	for i, want := range []float64{1, 4, 4, 11, 37} { // min, max, num, sum, squares
		require.Equal(t, want, double(h[protowire.Number(i+1)]))
	}
	require.Len(t, h[6], 8*histogramBuckets)
	require.Equal(t, 4.0, double(h[6][8*histogramBuckets-8:]))
	var inBuckets float64
	for i := range histogramBuckets {
		inBuckets += double(h[7][8*i:])
	}
	require.Equal(t, 4.0, inBuckets)
	require.Equal(t, 2.0, double(h[7][8*histogramBuckets-8:]), "the largest value belongs to the last bucket")

	one := fields(t, fields(t, fields(t, all[3][5])[0][1])[0][5])[0]
	require.Len(t, one[6], 8)
	require.Greater(t, double(one[6]), double(one[1]), "an edge lies above the least value")

	v := fields(t, fields(t, all[4][5])[0][1])[0]
	require.Equal(t, "t", string(v[1]))
	require.Equal(t, "**hi**", string(fields(t, v[8])[0][8]))
	require.Equal(t, "text", string(fields(t, fields(t, v[9])[0][1])[0][1]))
}

// A process that goes on begins a file that comes later in the order of names, whatever the clock says, and withdraws
// what follows the step it goes on from.
func TestEventsOfAResumedRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[odd] *name")
	require.NoError(t, os.Mkdir(dir, 0o755))
	clock := func() time.Time { return time.Unix(1700000000, 0) }
	for range 2 {
		e, err := openEvents(dir, 6, clock)
		require.NoError(t, err)
		require.NoError(t, e.log.f.Close())
	}
	e, err := openEvents(dir, 6, func() time.Time { return time.Unix(1600000000, 0) })
	require.NoError(t, err)
	require.NoError(t, e.log.f.Close())
	require.Len(t, frames(t, eventsFile(t, dir, "1700000000")), 1, "there was nothing to withdraw")
	for _, second := range []string{"1700000001", "1700000002"} {
		all := frames(t, eventsFile(t, dir, second))
		require.Len(t, all, 2)
		require.Equal(t, []byte{7}, all[1][2], "step 7 is the first that is withdrawn")
		require.Equal(t, []byte{1}, fields(t, all[1][7])[0][1], "SessionLog.START")
	}
}
