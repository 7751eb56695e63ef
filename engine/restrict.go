package engine

import "errors"

// ErrNothingAllowed is the error of a request whose Restrict, MinTokens and the ids without a token together leave no
// id to draw.
var ErrNothingAllowed = errors.New("no token may be sampled: the restrictions of the request exclude all of them")

// restrict asks Request.Restrict which ids must not be drawn next.
func (j *job) restrict() error {
	if j.req.Restrict == nil {
		return nil
	}
	if j.allowed == nil {
		j.allowed = make([]bool, j.r.m.Config.Vocab)
	}
	for id := range j.allowed {
		j.allowed[id] = true
	}
	if err := protect("the request's restriction", func() error {
		j.req.Restrict(j.ids[:len(j.ids):len(j.ids)], j.allowed)
		return nil
	}); err != nil {
		return err
	}
	for _, id := range j.r.m.NoToken {
		j.allowed[id] = false
	}
	if len(j.ids) < j.req.MinTokens {
		for _, id := range j.eos {
			if id >= 0 && int(id) < len(j.allowed) {
				j.allowed[id] = false
			}
		}
	}
	j.excluded = j.excluded[:0] // the pass that used it has ended
	for id, ok := range j.allowed {
		if !ok {
			j.excluded = append(j.excluded, int32(id))
		}
	}
	if len(j.excluded) == len(j.allowed) {
		return ErrNothingAllowed
	}
	j.never = j.excluded
	return nil
}
