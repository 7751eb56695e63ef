// Package fingerprint says what a result came from, part by part, so that whatever is reused (a checkpoint at resume,
// an evaluation, a replay) is compared with what is there now, and the part that differs is named. Contents are
// compared by a digest of every byte: a digest of sampled blocks would not notice a single changed weight, and one
// that is remembered by path, size and time can be wrong. SHA-256 over blocks hashes 1.8 GB/s on one core with SHA
// instructions, and the blocks of a file are hashed in parallel, so that a model is hashed faster than it is loaded.
package fingerprint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Parts are what something came from: for every part the text of a setting or the digest of a content (see Mark). A
// part is named after the flag that gives it, as in lr or corpus; of what has several parts, as in model.weights, the
// model's own name follows a dot.
type Parts map[string]string

// Mark begins the digest of a content, and no setting.
const Mark = "sha256/8MiB:"

// Content adds the digest of texts; the division into texts counts.
func (p Parts) Content(part string, texts ...string) {
	h := newDigest()
	for _, t := range texts {
		h.text(t)
	}
	p[part] = h.sum()
}

// Merge adds the parts of q.
func (p Parts) Merge(q Parts) { maps.Copy(p, q) }

// Difference is a part that is not as it was; Was or Now is "" where the part was not, or is not, there.
type Difference struct {
	Part, Was, Now string
}

// Compare lists the parts that differ, in the order of their names.
func Compare(was, now Parts) (out []Difference) {
	all := maps.Clone(was)
	if all == nil {
		all = Parts{}
	}
	all.Merge(now)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		a, before := was[k]
		b, after := now[k]
		if a != b || before != after {
			out = append(out, Difference{k, a, b})
		}
	}
	return out
}

// IsContent reports whether what the part holds differs, not a setting.
func (d Difference) IsContent() bool {
	return strings.HasPrefix(d.Was, Mark) || strings.HasPrefix(d.Now, Mark)
}

// String says what differs, for the user.
func (d Difference) String() string {
	flag, of, divided := strings.Cut(d.Part, ".")
	switch {
	case !d.IsContent() && d.Was == "":
		return fmt.Sprintf("--%s is %s, was not given", d.Part, d.Now)
	case !d.IsContent():
		return fmt.Sprintf("--%s was %s, is %s", d.Part, d.Was, cmp.Or(d.Now, "not given"))
	case divided && d.Was == "":
		return fmt.Sprintf("--%s had no %s", flag, of)
	case divided && d.Now == "":
		return fmt.Sprintf("--%s has no %s any more", flag, of)
	case divided && of == Weights:
		return fmt.Sprintf("the weights of --%s are others", flag)
	case divided:
		return fmt.Sprintf("the %s of --%s is another one", of, flag)
	}
	return fmt.Sprintf("--%s holds something else", flag)
}

// Sentence joins differences.
func Sentence(all []Difference) string {
	var out []string
	for _, d := range all {
		out = append(out, d.String())
	}
	return strings.Join(out, "; ")
}
