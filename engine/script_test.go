package engine

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/kvcache"
	"github.com/zerosearch-go/zerosearch/internal/scripttest"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the scheduler does now")

// TestScripts runs the scheduler by hand. A script is a list of commands, each followed by the scheduler's whole
// reaction between ---- and an empty line; lines with # tell the story. Sampled ids are made up: 1000 times the
// sequence's number plus the position.
//
//	lane NAME pages=P batch=B seqs=S     a model with P pages, steps of at most B tokens and S sequences
//	add LANE NAME IDS max=M [key=K]      a sequence that generates M tokens; IDS such as 1..40,7
//	score LANE NAME IDS from=F           a sequence whose tokens F.. are scored
//	step | run                           one step; steps until all is idle
//	lag                                  from now on a step plans before it takes in what the step before sampled
//	cancel NAME | invalidate LANE [K]
//	cache LANE                           the tree of pages: held by how many, idle in order of eviction
func TestScripts(t *testing.T) {
	scripttest.Each(t, "testdata/*.txt", func(t *testing.T, path, text string) {
		scripttest.Compare(t, path, text, runScript(t, text), *update)
	})
}

type script struct {
	t     *testing.T
	s     scheduler
	lanes map[string]*lane
	seqs  map[string]*sequence
	names map[*sequence]string
	lane  map[*sequence]*lane
	max   map[*sequence]int
	out   strings.Builder

	lags     bool
	underway *plan
	outcomes []outcome
}

func runScript(t *testing.T, text string) string {
	x := &script{t: t, lanes: map[string]*lane{}, seqs: map[string]*sequence{}, names: map[*sequence]string{},
		lane: map[*sequence]*lane{}, max: map[*sequence]int{}}
	skip := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			if !skip {
				x.out.WriteString("\n")
			}
			skip = false
		case skip:
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(&x.out, line)
		default:
			fmt.Fprintf(&x.out, "%s\n----\n", line)
			x.command(strings.Fields(line))
			x.out.WriteString("\n")
			skip = true // until the next empty line: the reaction of last time
		}
	}
	return x.out.String()
}

func (x *script) command(f []string) {
	opt := map[string]int{}
	for _, a := range f {
		if k, v, ok := strings.Cut(a, "="); ok {
			n, err := strconv.Atoi(v)
			require.NoError(x.t, err)
			opt[k] = n
		}
	}
	switch f[0] {
	case "lane":
		x.lanes[f[1]] = newLane(f[1], opt["pages"], opt["batch"], opt["seqs"])
		x.s.lanes = append(x.s.lanes, x.lanes[f[1]])
	case "add", "score":
		q := &sequence{key: kvcache.Key(opt["key"]), ids: parseIDs(x.t, f[3])}
		q.prompt, q.target, q.reuse = len(q.ids), len(q.ids), len(q.ids)-1
		if f[0] == "score" {
			q.scores, q.target, q.reuse = true, len(q.ids)-1, opt["from"]-1
		}
		x.seqs[f[2]], x.names[q], x.lane[q], x.max[q] = q, f[2], x.lanes[f[1]], opt["max"]
		x.s.add(x.lanes[f[1]], q)
	case "lag":
		x.lags = true
	case "step":
		x.step()
	case "run":
		for n := 0; !x.s.idle() || x.underway != nil; n++ {
			require.Less(x.t, n, 1000, "the script does not end")
			x.step()
		}
	case "cancel":
		x.lane[x.seqs[f[1]]].cancel(x.seqs[f[1]])
	case "invalidate":
		key := 0
		if len(f) > 2 {
			key, _ = strconv.Atoi(f[2])
		}
		x.lanes[f[1]].invalidate(kvcache.Key(key), len(f) == 2)
	case "cache":
		x.out.WriteString(x.lanes[f[1]].cache.String())
	default:
		x.t.Fatalf("unknown command %q", f)
	}
}

func (x *script) step() {
	p := x.s.plan()
	if p == nil {
		fmt.Fprintln(&x.out, "nothing to do")
		x.settle()
		return
	}
	fmt.Fprintf(&x.out, "%s: %d tokens\n", p.lane.name, p.tokens)
	for _, q := range p.preempted {
		fmt.Fprintf(&x.out, "  %s goes back to wait\n", x.names[q])
	}
	for i := range p.dst {
		fmt.Fprintf(&x.out, "  copy page %d to %d\n", p.src[i], p.dst[i])
	}
	out, lines := make([]outcome, len(p.items)), make([]string, len(p.items))
	for i, it := range p.items {
		q := it.seq
		lines[i] = fmt.Sprintf("  %s [%d,%d) pages %v", x.names[q], it.start, it.start+it.n, q.table.Pages())
		length := it.start + it.n
		if it.ends && !q.scores {
			number := slices.Index([]byte("abcdefghijklmnopqrstuvwxyz"), x.names[q][0]) + 1
			out[i] = outcome{id: int32(1000*number + length), finish: length+1-q.prompt == x.max[q]}
			lines[i] += fmt.Sprintf(" -> %d", out[i].id)
		}
		if it.ends && (q.scores || out[i].finish) {
			lines[i] += ", leaves"
		}
	}
	fmt.Fprintln(&x.out, strings.Join(lines, "\n"))
	x.settle()
	if x.underway, x.outcomes = p, out; !x.lags {
		x.settle()
		return
	}
	x.s.sent(p)
	for i, it := range p.items {
		if it.ends && !it.seq.scores && !it.seq.gone {
			it.seq.draws(i, true)
		}
	}
}

// settle takes in what the plan under way has sampled.
func (x *script) settle() {
	p, out := x.underway, x.outcomes
	if x.underway = nil; p == nil {
		return
	}
	for i, it := range p.items {
		switch gone := it.seq.gone && !it.seq.scores; {
		case !x.lags:
		case gone:
			fmt.Fprintf(&x.out, "  then: %s had left: dropped\n", x.names[it.seq])
		case it.ends && !it.seq.scores:
			fmt.Fprintf(&x.out, "  then: %s has %d\n", x.names[it.seq], out[i].id)
		}
	}
	x.s.done(p, out)
}

func parseIDs(t *testing.T, s string) (ids []int32) {
	for part := range strings.SplitSeq(s, ",") {
		a, b, isRange := strings.Cut(part, "..")
		from, err := strconv.Atoi(a)
		require.NoError(t, err)
		to := from
		if isRange {
			to, err = strconv.Atoi(b)
			require.NoError(t, err)
		}
		for i := from; i <= to; i++ {
			ids = append(ids, int32(i))
		}
	}
	return ids
}
