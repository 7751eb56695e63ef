package kvcache

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// String draws the tree, a line a page: number, ids, how many tables hold it; then the idle pages in the order in which
// they would be evicted, and how many are free.
func (c *Cache) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(c.roots)) {
		if root := c.roots[key]; len(root.kids) > 0 {
			fmt.Fprintf(&b, "key %d\n", key)
			c.dump(&b, root, "  ")
		}
	}
	fmt.Fprint(&b, "idle")
	for n := c.idle.oldest; n != nil; n = n.next {
		fmt.Fprintf(&b, " %d", n.page)
	}
	fmt.Fprintf(&b, ", free %d of %d\n", c.Free(), c.Total())
	return b.String()
}

func (c *Cache) dump(b *strings.Builder, n *node, indent string) {
	for _, first := range slices.Sorted(maps.Keys(n.kids)) {
		for _, k := range n.kids[first] {
			fmt.Fprintf(b, "%spage %d: %d ids %d..%d, held by %d\n", indent, k.page, len(k.ids), k.ids[0],
				k.ids[len(k.ids)-1],
				c.pool.Refs(k.page)-1)
			c.dump(b, k, indent+"  ")
		}
	}
}
