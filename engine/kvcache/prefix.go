package kvcache

import (
	"maps"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
)

const pageSize = kernels.PageSize

// Key names the weights that wrote a page, apart from their version: 0 is the base model, other values its adapters.
// Pages are shared only under one key, and Invalidate starts a new version of it.
type Key uint64

// Cache is a tree of pages: a path from a key's root spells the ids of a sequence, a page of ids a node; only the last
// node of a path may be partly filled. A new sequence gets the longest path that matches it. Ids are compared, not only
// hashed, so two prompts are never confused.
//
// A node that no Table holds is idle: it is kept for later sequences and is evicted, oldest first, when a page is
// needed. A table that holds a node holds all nodes above it, and releases the deepest first. So the oldest idle node
// never has children.
type Cache struct {
	pool  *Pool
	roots map[Key]*node
	idle  lru

	Evictions, Copies, Swaps int // counters: pages evicted; pages copied; full pages found twice and merged
}

// node is one page and the ids whose keys and values it holds.
type node struct {
	parent     *node
	page       int32
	ids        []int32           // at most pageSize
	kids       map[int32][]*node // by the first id
	linked     bool              // in the tree, which counts as a user of the page
	dead       bool              // the weights that wrote it are gone
	prev, next *node             // neighbours among the idle
	queued     bool              // idle

	// Of a root, which has no page.
	key    Key
	tables int // open
}

// New makes an empty cache over a pool of pages.
func New(pages int) *Cache { return &Cache{pool: NewPool(pages), roots: map[Key]*node{}} }

// Total, Free and Idle count pages: all; used by nothing; kept only for reuse. The rest is held by tables.
func (c *Cache) Total() int { return c.pool.Total() }

// Free is the number of pages that hold nothing.
func (c *Cache) Free() int { return c.pool.Free() }

// Idle is the number of pages that no table holds: kept for reuse, evicted when needed.
func (c *Cache) Idle() int { return c.idle.n }

// Available is the number of pages that a table could get now.
func (c *Cache) Available() int { return c.pool.Free() + c.idle.n }

// Invalidate forgets what was written under key: its weights have changed. Pages that tables still hold are freed when
// they close.
func (c *Cache) Invalidate(key Key) {
	if root := c.roots[key]; root != nil {
		delete(c.roots, key)
		c.kill(root)
	}
}

// InvalidateAll forgets everything.
func (c *Cache) InvalidateAll() {
	// in order, so that the numbers of free pages do not depend on chance
	for _, key := range slices.Sorted(maps.Keys(c.roots)) {
		c.kill(c.roots[key])
	}
	clear(c.roots)
}

func (c *Cache) kill(n *node) {
	kids := n.kids
	n.dead, n.kids = true, nil
	for _, first := range slices.Sorted(maps.Keys(kids)) {
		for _, k := range kids[first] {
			c.kill(k)
		}
	}
	if n.linked {
		c.unlink(n)
	}
}

// link hangs n, which has ids, under its parent, so that others find it.
func (c *Cache) link(n *node) {
	if n.dead = n.dead || n.parent.dead; n.dead || n.linked {
		return
	}
	if n.parent.kids == nil {
		n.parent.kids = map[int32][]*node{}
	}
	n.parent.kids[n.ids[0]] = append(n.parent.kids[n.ids[0]], n)
	n.linked = true
	c.pool.Retain(n.page)
}

// unlink takes n, which has no children, out of the tree and frees its page if nothing else uses it.
func (c *Cache) unlink(n *node) {
	if kids, first := n.parent.kids, n.ids[0]; kids != nil {
		kids[first] = slices.DeleteFunc(kids[first], func(k *node) bool { return k == n })
		if len(kids[first]) == 0 {
			delete(kids, first)
		}
	}
	n.linked = false
	c.idle.remove(n)
	c.pool.Release(n.page)
	c.prune(n.parent)
}

// prune forgets n if it is a root under which nothing is left.
func (c *Cache) prune(n *node) {
	if n.tables == 0 && len(n.kids) == 0 && c.roots[n.key] == n {
		delete(c.roots, n.key)
	}
}

// hold makes the caller a user of n.
func (c *Cache) hold(n *node) {
	c.idle.remove(n)
	c.pool.Retain(n.page)
}

// drop ends a use of n.
func (c *Cache) drop(n *node) {
	c.pool.Release(n.page)
	if n.linked && c.pool.Refs(n.page) == 1 {
		c.idle.push(n)
	}
}

// alloc takes a free page, evicting the one longest idle if it must; false if every page is held.
func (c *Cache) alloc() (int32, bool) {
	if c.pool.Free() == 0 && c.idle.oldest != nil {
		c.Evictions++
		c.unlink(c.idle.oldest)
	}
	return c.pool.Alloc()
}

// root is the node above the first pages written under key.
func (c *Cache) root(key Key) *node {
	r := c.roots[key]
	if r == nil {
		r = &node{page: -1, key: key}
		c.roots[key] = r
	}
	return r
}

// best is the child of n that shares most with ids, and how many ids that is. Among equals it prefers one that can be
// taken over without a copy.
func (c *Cache) best(n *node, ids []int32) (child *node, shared int) {
	if len(ids) == 0 {
		return nil, 0
	}
	for _, k := range n.kids[ids[0]] {
		s := Common(k.ids, ids)
		if s > shared || s == shared && !child.takeable(shared) && k.takeable(s) {
			child, shared = k, s
		}
	}
	return child, shared
}

// takeable says whether a table may go on writing into n after its first shared ids: no table uses n, and it ends
// there.
func (n *node) takeable(shared int) bool {
	return n.queued && shared == len(n.ids) && shared < pageSize
}

// Common is the length of the longest common prefix of a and b.
func Common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// lru is the list of idle nodes, oldest first.
type lru struct {
	oldest, newest *node
	n              int
}

func (l *lru) push(n *node) {
	n.prev, n.next, n.queued = l.newest, nil, true
	if l.newest != nil {
		l.newest.next = n
	} else {
		l.oldest = n
	}
	l.newest = n
	l.n++
}

func (l *lru) remove(n *node) {
	if !n.queued {
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.oldest = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.newest = n.prev
	}
	n.prev, n.next, n.queued = nil, nil, false
	l.n--
}
