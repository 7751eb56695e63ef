// Package kvcache manages the pages of one model's KV cache: which page holds which tokens, which sequences use it,
// what may be shared, and what is evicted first when memory is short. It touches no device: it decides which page is
// written or copied, and the engine does that.
package kvcache

import "fmt"

// Pool counts the users of every page. A page with no user is free. Pages are numbered 0..Total-1 as in
// kernels.Segment.
type Pool struct {
	refs []int32
	free []int32 // a stack: what was freed last is used first, its lines may still be in a processor's cache
}

// NewPool makes a pool of free pages.
func NewPool(pages int) *Pool {
	p := &Pool{refs: make([]int32, pages), free: make([]int32, pages)}
	for i := range p.free {
		p.free[i] = int32(pages - 1 - i)
	}
	return p
}

// Alloc takes a free page, with one user; false if there is none.
func (p *Pool) Alloc() (int32, bool) {
	if len(p.free) == 0 {
		return 0, false
	}
	page := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.refs[page] = 1
	return page, true
}

// Retain adds a user to a page in use.
func (p *Pool) Retain(page int32) {
	if p.refs[page] <= 0 {
		panic(fmt.Sprintf("kvcache: page %d is free and cannot gain a user", page))
	}
	p.refs[page]++
}

// Release takes a user away; the last one frees the page.
func (p *Pool) Release(page int32) {
	if p.refs[page] <= 0 {
		panic(fmt.Sprintf("kvcache: page %d released more often than used", page))
	}
	if p.refs[page]--; p.refs[page] == 0 {
		p.free = append(p.free, page)
	}
}

// Refs is the number of users of a page.
func (p *Pool) Refs(page int32) int { return int(p.refs[page]) }

// Free is the number of free pages, Total that of all.
func (p *Pool) Free() int { return len(p.free) }

// Total is the number of pages, free or not.
func (p *Pool) Total() int { return len(p.refs) }
