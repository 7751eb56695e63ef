package rundir

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// events is the file that TensorBoard and W&B read: records of TFRecord, each a protobuf message tensorflow.Event. One
// is begun by every process of a run; what an earlier one wrote beyond the step that is gone on from is withdrawn by
// the first record.
//
// A record is: length uint64, masked CRC-32C of the length, message, masked CRC-32C of the message; little-endian.
type events struct {
	log *log
	now func() time.Time
}

// openEvents begins a file in dir for a run that goes on after step (0: a new run).
func openEvents(dir string, step int, now func() time.Time) (*events, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	second, resumed := now().Unix(), false
	for _, f := range names { // TensorBoard reads the files in the order of their names
		if rest, ok := strings.CutPrefix(f.Name(), eventsPrefix); ok {
			var at int64
			fmt.Sscanf(rest, "%d", &at)
			second, resumed = max(second, at+1), true
		}
	}
	host, err := os.Hostname()
	if err != nil || host == "" || strings.ContainsAny(host, `/\`) {
		host = "localhost"
	}
	// W&B looks for its own host
	l, err := openLog(filepath.Join(dir, fmt.Sprintf("%s%010d.%s", eventsPrefix, second, host)))
	if err != nil {
		return nil, err
	}
	e := &events{l, now}
	err = e.write(0, 3, []byte("brain.Event:2")) // file_version
	if err == nil && resumed {
		// session_log{status: START} drops what is there from this step on
		err = e.write(step+1, 7, varintField(nil, 1, 1))
	}
	return e, err
}

const eventsPrefix = "events.out.tfevents."

// write appends one Event, its field what being message.
func (e *events) write(step int, what protowire.Number, message []byte) error {
	b := doubleField(nil, 1, float64(e.now().UnixMicro())/1e6) // wall_time
	b = varintField(b, 2, uint64(step))
	return e.log.append(record(bytesField(b, what, message)))
}

// scalars appends the metrics of a step: simple_value, which is a float32.
func (e *events) scalars(step int, m Metrics) error {
	var b []byte
	for _, name := range m.names() {
		v := bytesField(nil, 1, []byte(name))
		v = protowire.AppendFixed32(protowire.AppendTag(v, 2, protowire.Fixed32Type),
			math.Float32bits(float32(m[name])))
		b = bytesField(b, 1, v)
	}
	return e.write(step, 5, b)
}

// histogramBuckets is the number of equal parts that the range of the values is cut into.
const histogramBuckets = 30

// histogram appends a distribution: HistogramProto. Values that are not finite are left out.
func (e *events) histogram(step int, name string, values []float64) error {
	var finite []float64
	lo, hi, sum, squares := math.Inf(1), math.Inf(-1), 0.0, 0.0
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			finite = append(finite, v)
			lo, hi, sum, squares = min(lo, v), max(hi, v), sum+v, squares+v*v
		}
	}
	if len(finite) == 0 {
		return nil
	}
	n, end := histogramBuckets, hi
	// W&B refuses an edge that is not above the least value
	if least := 1e-9 * max(1, math.Abs(lo), math.Abs(hi)); hi-lo < least {
		n, end = 1, hi+least
	}
	counts := make([]float64, n)
	for _, v := range finite {
		k := 0
		if n > 1 {
			k = min(int((v-lo)/(hi-lo)*float64(n)), n-1)
		}
		counts[k]++
	}
	var limits, buckets []byte
	for k, c := range counts {
		limit := end
		if k < n-1 {
			limit = lo + (hi-lo)*float64(k+1)/float64(n)
		}
		limits = protowire.AppendFixed64(limits, math.Float64bits(limit))
		buckets = protowire.AppendFixed64(buckets, math.Float64bits(c))
	}
	var h []byte
	for i, v := range []float64{lo, hi, float64(len(finite)), sum, squares} {
		h = doubleField(h, protowire.Number(i+1), v)
	}
	h = bytesField(bytesField(h, 6, limits), 7, buckets)
	return e.write(step, 5, bytesField(nil, 1, bytesField(bytesField(nil, 1, []byte(name)), 5, h)))
}

// text appends Markdown: a string tensor of one element that belongs to TensorBoard's plugin "text".
func (e *events) text(step int, name, markdown string) error {
	shape := bytesField(nil, 2, varintField(nil, 1, 1))
	// dtype DT_STRING, shape [1], string_val
	tensor := bytesField(bytesField(varintField(nil, 1, 7), 2, shape), 8, []byte(markdown))
	metadata := bytesField(nil, 1, bytesField(nil, 1, []byte("text")))
	v := bytesField(bytesField(bytesField(nil, 1, []byte(name)), 8, tensor), 9, metadata)
	return e.write(step, 5, bytesField(nil, 1, v))
}

// record frames a message.
func record(message []byte) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, len(message)+16), uint64(len(message)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b))
	b = append(b, message...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(message))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is TFRecord's check sum: rotated and shifted, so that sums of texts that hold sums stay good.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func varintField(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func doubleField(b []byte, n protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, n, protowire.Fixed64Type), math.Float64bits(v))
}

func bytesField(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}
