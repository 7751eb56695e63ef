package kvcache

import "fmt"

// Table is the page table of one sequence: position p is at place p%PageSize of page Pages()[p/PageSize].
type Table struct {
	c     *Cache
	root  *node
	nodes []*node
	pages []int32
	n     int   // tokens whose keys and values are in the pages, once the pending copy is done
	src   *node // source of the pending copy, kept from eviction until it is done
}

// Copy says that page Src must be copied to page Dst before anything is written: the sequence shares only the head of
// Src.
type Copy struct{ Dst, Src int32 }

// Open makes the table of a sequence that begins with ids, on the pages that already hold its first tokens under key:
// at most limit of them (a caller that needs the output of position limit must compute it). Full pages are shared. A
// last page that agrees only in part, or that another table still writes, is copied if copying is allowed and a page
// can be had: copied reports that cp must be done before the next write. A partly filled page that no table uses is
// simply continued.
func (c *Cache) Open(key Key, ids []int32, limit int, copying bool) (t *Table, cp Copy, copied bool) {
	t = &Table{c: c, root: c.root(key)}
	t.root.tables++
	rest := ids[:min(limit, len(ids))]
	for at := t.root; ; {
		child, shared := c.best(at, rest)
		switch {
		case shared == pageSize || shared > 0 && child.takeable(shared):
			c.hold(child)
			t.push(child)
			t.n += shared
			if at, rest = child, rest[shared:]; shared == pageSize {
				continue
			}
		case shared > 0 && copying:
			cp, copied = t.copyHead(child, shared)
		}
		return t, cp, copied
	}
}

func (t *Table) copyHead(src *node, shared int) (cp Copy, ok bool) {
	t.c.hold(src)
	page, ok := t.c.alloc()
	if !ok {
		t.c.drop(src)
		return cp, false
	}
	t.c.Copies++
	t.src = src
	t.push(&node{parent: t.last(), page: page, ids: append(make([]int32, 0, pageSize), src.ids[:shared]...)})
	t.n += shared
	return Copy{Dst: page, Src: src.page}, true
}

// Peek says what Open would find: the tokens of ids[:limit] that are there, and how many idle pages it would take up.
func (c *Cache) Peek(key Key, ids []int32, limit int) (tokens, idle int) {
	at, rest := c.roots[key], ids[:min(limit, len(ids))]
	for at != nil {
		child, shared := c.best(at, rest)
		if shared > 0 && child.queued {
			idle++
		}
		tokens += shared
		if shared < pageSize {
			break
		}
		at, rest = child, rest[shared:]
	}
	return tokens, idle
}

// Grow makes room for n more tokens. It evicts idle pages if it must; false, and nothing is changed but evictions, if
// every page is held.
func (t *Table) Grow(n int) bool {
	had := len(t.nodes)
	for len(t.nodes)*pageSize < t.n+n {
		page, ok := t.c.alloc()
		if !ok {
			for len(t.nodes) > had {
				t.pop()
			}
			return false
		}
		t.push(&node{parent: t.last(), page: page, ids: make([]int32, 0, pageSize)})
	}
	return true
}

// Commit records that the keys and values of ids, the next tokens of the sequence, are written, and the pending copy is
// done: from now on others may share them. A page that is full and that another sequence has filled with the same
// tokens is given up for the other's.
func (t *Table) Commit(ids []int32) {
	if t.n+len(ids) > len(t.nodes)*pageSize {
		panic(fmt.Sprintf("kvcache: %d tokens written behind %d in %d pages", len(ids), t.n, len(t.nodes)))
	}
	if t.src != nil {
		t.c.drop(t.src)
		t.src = nil
	}
	for len(ids) > 0 {
		i := t.n / pageSize
		n, k := t.nodes[i], min(len(ids), pageSize-t.n%pageSize)
		n.ids = append(n.ids, ids[:k]...)
		t.n, ids = t.n+k, ids[k:]
		if len(n.ids) == pageSize {
			t.merge(i)
		}
		t.c.link(t.nodes[i])
	}
}

// merge replaces the full page i by one of the same content, if the tree has another.
func (t *Table) merge(i int) {
	n := t.nodes[i]
	for _, twin := range n.parent.kids[n.ids[0]] {
		if twin == n || Common(twin.ids, n.ids) < pageSize {
			continue
		}
		t.c.Swaps++
		t.c.hold(twin)
		t.nodes[i], t.pages[i] = twin, twin.page
		if i+1 < len(t.nodes) {
			t.nodes[i+1].parent = twin // the next page is empty still: only a committed one is linked
		}
		if n.linked {
			t.c.unlink(n)
		}
		t.c.drop(n)
		return
	}
}

// Close, called once, gives the pages up. What was committed stays for others until its pages are needed.
func (t *Table) Close() {
	if t.src != nil { // before the nodes above it: the order in which they become idle is that of eviction
		t.c.drop(t.src)
	}
	for len(t.nodes) > 0 {
		t.pop()
	}
	t.root.tables--
	t.c.prune(t.root)
	t.n, t.src = 0, nil
}

// Len is the number of tokens in the pages, Pages the table itself: it is valid until the next call.
func (t *Table) Len() int { return t.n }

// Pages lists the pages in the order of positions. The slice is the table's own and changes with it.
func (t *Table) Pages() []int32 { return t.pages }

func (t *Table) last() *node {
	if len(t.nodes) == 0 {
		return t.root
	}
	return t.nodes[len(t.nodes)-1]
}

func (t *Table) push(n *node) {
	t.nodes = append(t.nodes, n)
	t.pages = append(t.pages, n.page)
}

func (t *Table) pop() {
	n := t.last()
	t.nodes, t.pages = t.nodes[:len(t.nodes)-1], t.pages[:len(t.pages)-1]
	t.c.drop(n)
}
