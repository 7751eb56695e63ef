// Package jinja renders chat templates: the part of the Jinja language that they use, with the options Hugging Face's
// libraries render them with (trim_blocks, lstrip_blocks, the filter tojson without escapes, loop controls,
// raise_exception, strftime_now).
//
// Values behave as in Python, where a template can tell: order of keys, str() and repr(), truth, slices, string
// methods. What is not known (recursive loops, inheritance, call blocks, other filters and tests) is an error when the
// template is parsed, or when an unknown function is called. Nothing a template can do changes its input, and every
// rendering has a budget of steps and of memory.
//
// lex.go cuts the text into tokens, expr.go and stmt.go build the tree, eval.go and run.go walk it.
package jinja
