package main

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
)

// quickCases are those of the suite that take seconds where the GPU is simulated.
const quickCases = "embed|norm|rope|swiglu|gather|optimizer|special|narrow|memory|weights|cache|empty|golden|gradient"

// conformance is the suite that every device passes in go test, run by the package testing here: the suite takes a
// *testing.T, with subtests, and testing.RunTests is what gives one outside of go test. What testing prints is read
// instead of being shown.
func conformance(j *job) error {
	cases := "."
	if j.flags.Quick {
		cases = "^(" + quickCases + ")$"
	}
	return j.suite(cmp.Or(j.flags.Cases, cases))
}

// ownProducts is the part of the suite that has products in it.
func ownProducts(j *job) error {
	cases := "^(matmul|narrow|weights|update|chain|formula|gradient)$"
	if j.flags.Quick {
		cases = "^(narrow|weights|update|gradient)$"
	}
	return j.suite(cmp.Or(j.flags.Cases, cases))
}

// suite runs the cases of the suite whose names match.
func (j *job) suite(cases string) error {
	if flag.Lookup("test.v") == nil {
		testing.Init()
	}
	defer restored("test.v", "true")()
	defer restored("test.run", "^conformance$/"+cases)()
	open := func() (kernels.Device, error) { return j.open() }
	suite := []testing.InternalTest{
		{Name: "conformance", F: func(t *testing.T) { kerneltest.Run(t, open, kerneltest.CUDA) }}}
	p := outcomes{j: j}
	ok := false
	if err := printed(func() { ok = testing.RunTests(matches, suite) }, p.read); err != nil {
		return err
	}
	j.values["cases"] = float64(p.cases)
	switch {
	case p.cases == 0:
		return fmt.Errorf("no case of the suite matches %q", cases)
	case !ok:
		return fmt.Errorf("%d of %d cases failed", p.bad, p.cases)
	}
	return nil
}

func matches(pattern, name string) (bool, error) { return regexp.MatchString(pattern, name) }

// restored sets a flag of package testing until what it returns is called.
func restored(name, value string) (back func()) {
	f := flag.Lookup(name)
	was := f.Value.String()
	f.Value.Set(value)
	return func() { f.Value.Set(was) }
}

// printed calls f while read gets what is printed to standard output.
func printed(f func(), read func(io.Reader)) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	was := os.Stdout
	os.Stdout = w
	end := make(chan struct{})
	go func() {
		read(r)
		close(end)
	}()
	defer func() {
		os.Stdout = was
		w.Close()
		<-end
		r.Close()
	}()
	f()
	return nil
}

// outcomes reads what testing prints with -v.
type outcomes struct {
	j          *job
	cases, bad int
	told       int // lines of failures
}

// mostTold is how many lines of failures are shown.
const mostTold = 60

var outcome = regexp.MustCompile(`^( *)--- (PASS|FAIL|SKIP): conformance/(\S+) \(([\d.]+)s\)`)

func (p *outcomes) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		l := lines.Text()
		m := outcome.FindStringSubmatch(l)
		switch {
		case m != nil && len(m[1]) == 4: // a group
			p.j.say("%s %s %s s", m[2], m[3], m[4])
		case m != nil && len(m[1]) > 4:
			p.cases++
			if m[2] == failed {
				p.bad++
				p.tell(m[2] + " " + m[3])
			}
		case strings.HasPrefix(l, "=== ") || strings.Contains(l, "--- ") || l == "PASS" || l == "FAIL":
		default:
			p.tell(strings.TrimSpace(l))
		}
	}
}

func (p *outcomes) tell(line string) {
	if p.told++; p.told <= mostTold {
		p.j.say("%s", line)
	}
}
